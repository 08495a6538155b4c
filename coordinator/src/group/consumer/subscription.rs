//! What a group wants to read: topics by name and by expression, and which of them exist.

use std::collections::{BTreeMap, BTreeSet};

use ottla_metadata::image::Image;
use ottla_metadata::model::group::ConsumerMember;
use ottla_protocol::Uuid;

use super::topic_pattern::{PatternError, TopicPattern};

/// The subscriptions of all members together.
#[derive(Debug, Default)]
pub struct Subscription {
    /// How many members named a topic.
    names: BTreeMap<String, usize>,
    /// Expressions by their text.
    patterns: BTreeMap<String, Pattern>,
    /// Those of all these topics that exist.
    topics: BTreeMap<String, Topic>,
    /// Their names.
    names_by_id: BTreeMap<Uuid, String>,
}

#[derive(Debug)]
struct Pattern {
    /// `None` if it was stored and cannot be compiled any more: it matches nothing.
    compiled: Option<TopicPattern>,
    /// The topics that match.
    topics: BTreeSet<String>,
    /// How many members use it.
    members: usize,
}

/// A topic that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
}

impl Subscription {
    /// Checks an expression that a member brings, unless others have it already.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn check_pattern(&self, pattern: &str) -> Result<(), PatternError> {
        if self.patterns.contains_key(pattern) {
            return Ok(());
        }
        TopicPattern::new(pattern).map(drop)
    }

    /// Counts a member in.
    pub fn add(&mut self, member: &ConsumerMember, image: &Image) {
        for name in &member.topics {
            *self.names.entry(name.clone()).or_default() += 1;
            self.look_up(name, image);
        }
        let Some(text) = &member.topic_regex else { return };
        if let Some(pattern) = self.patterns.get_mut(text) {
            pattern.members += 1;
            return;
        }
        let compiled = TopicPattern::new(text).ok();
        let mut topics = BTreeSet::new();
        if let Some(compiled) = &compiled {
            let names = image.topics().map(|topic| &topic.name);
            topics.extend(names.filter(|name| compiled.matches(name)).cloned());
        }
        for name in &topics {
            self.look_up(name, image);
        }
        self.patterns.insert(text.clone(), Pattern { compiled, topics, members: 1 });
    }

    /// Counts a member out.
    pub fn remove(&mut self, member: &ConsumerMember) {
        for name in &member.topics {
            let Some(members) = self.names.get_mut(name) else { continue };
            *members -= 1;
            if *members == 0 {
                self.names.remove(name);
                self.forget_unless_wanted(name);
            }
        }
        let Some(text) = &member.topic_regex else { return };
        let Some(pattern) = self.patterns.get_mut(text) else { return };
        pattern.members -= 1;
        if pattern.members == 0 {
            let pattern = self.patterns.remove(text).map(|pattern| pattern.topics);
            for name in pattern.unwrap_or_default() {
                self.forget_unless_wanted(&name);
            }
        }
    }

    /// Takes in that topics came, grew or went. Says whether that means anything to the group.
    pub fn topics_changed(&mut self, changed: &BTreeSet<Uuid>, image: &Image) -> bool {
        let mut means_something = false;
        for id in changed {
            let gone = self.names_by_id.get(id).filter(|_| image.topic_by_id(*id).is_none());
            if let Some(name) = gone.cloned() {
                means_something = true;
                self.topic_went(&name, image);
            } else if let Some(topic) = image.topic_by_id(*id) {
                means_something |= self.topic_is(&topic.name, image);
            }
        }
        means_something
    }

    /// All topics that exist, in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = (&str, Topic)> {
        self.topics.iter().map(|(name, topic)| (name.as_str(), *topic))
    }

    /// The name of a topic that exists.
    pub fn name_of(&self, id: Uuid) -> Option<&str> {
        self.names_by_id.get(&id).map(String::as_str)
    }

    /// Every name: named by a member, whether or not it exists, or matched.
    pub fn names(&self) -> BTreeSet<String> {
        let matched = self.patterns.values().flat_map(|pattern| pattern.topics.iter());
        self.names.keys().chain(matched).cloned().collect()
    }

    /// True if a member wants to read a topic, which exists.
    pub fn wants(&self, member: &ConsumerMember, id: Uuid) -> bool {
        let Some(name) = self.name_of(id) else { return false };
        let named = member.topics.binary_search_by(|topic| topic.as_str().cmp(name)).is_ok();
        named || self.matched(member).is_some_and(|topics| topics.contains(name))
    }

    /// The names that a member wants to read, of topics that exist.
    pub fn topics_of<'a>(&'a self, member: &'a ConsumerMember) -> BTreeSet<&'a str> {
        let matched = self.matched(member).into_iter().flatten();
        let names = member.topics.iter().chain(matched).map(String::as_str);
        names.filter(|name| self.topics.contains_key(*name)).collect()
    }

    fn matched(&self, member: &ConsumerMember) -> Option<&BTreeSet<String>> {
        let pattern = self.patterns.get(member.topic_regex.as_ref()?)?;
        Some(&pattern.topics)
    }

    fn topic_went(&mut self, name: &str, image: &Image) {
        self.forget(name);
        // A topic of the same name may be there already.
        if image.topic(name).is_some() {
            self.look_up(name, image);
            return;
        }
        for pattern in self.patterns.values_mut() {
            pattern.topics.remove(name);
        }
    }

    fn topic_is(&mut self, name: &str, image: &Image) -> bool {
        let mut is_wanted = self.names.contains_key(name);
        for pattern in self.patterns.values_mut() {
            if pattern.compiled.as_ref().is_some_and(|compiled| compiled.matches(name)) {
                pattern.topics.insert(name.to_owned());
                is_wanted = true;
            }
        }
        is_wanted && self.look_up(name, image)
    }

    /// Notes what the image says of a topic that is wanted; says whether that is news.
    fn look_up(&mut self, name: &str, image: &Image) -> bool {
        let Some(found) = image.topic(name) else { return false };
        let topic = Topic { id: found.id, partitions: found.partitions };
        if self.topics.get(name) == Some(&topic) {
            return false;
        }
        self.forget(name);
        self.topics.insert(name.to_owned(), topic);
        self.names_by_id.insert(topic.id, name.to_owned());
        true
    }

    fn forget_unless_wanted(&mut self, name: &str) {
        let matched = self.patterns.values().any(|pattern| pattern.topics.contains(name));
        if !matched && !self.names.contains_key(name) {
            self.forget(name);
        }
    }

    fn forget(&mut self, name: &str) {
        if let Some(topic) = self.topics.remove(name) {
            self.names_by_id.remove(&topic.id);
        }
    }
}
