//! One suite for every implementation of the store, run against the embedded one and against a real etcd.

mod etcd_server;
mod proxy;
mod subject;
mod suite;

pub(crate) use etcd_server::EtcdServer;
use subject::{EmbeddedSubject, EtcdSubject};

macro_rules! conformance {
    ($($case:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test]
            async fn $case() {
                super::suite::$case(&super::EmbeddedSubject::new()).await;
            })*
        }

        mod etcd {
            $(#[tokio::test]
            async fn $case() {
                if let Some(subject) = super::EtcdSubject::start().await {
                    super::suite::$case(&subject).await;
                }
            })*
        }
    };
}

conformance!(
    write_happens_only_if_every_compare_holds,
    keys_of_one_transaction_share_a_revision,
    deletions_are_part_of_a_transaction,
    largest_transaction_is_accepted_and_larger_ones_are_refused,
    list_longer_than_one_answer_is_paged,
    many_keys_are_paged_in_order,
    past_is_readable_until_it_is_compacted,
    watch_replays_the_past_and_goes_on,
    watch_delivers_whole_revisions,
    broken_watch_is_resumed_without_loss,
    watch_of_compacted_past_says_so,
    watch_tells_progress_only_after_all_changes,
    compaction_does_not_overtake_a_slow_lister,
    expired_lease_deletes_its_keys_and_is_watched,
    kept_lease_lives_and_revoked_lease_ends,
    lost_answer_is_unknown_and_then_resolved,
    late_application_is_refused_by_its_guard,
    status_tells_store_and_revision,
);
