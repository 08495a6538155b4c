//! Lists come in pages: `?limit=` items, those `after=` the last one of the page before.

use axum::http::StatusCode;
use serde::Deserialize;

use super::problem::Problem;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// Most items to answer: 1 to 1000, 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next` of the page before; without it the first page.
    pub after: Option<String>,
}

impl PageQuery {
    /// Takes one page of items, and what to ask for next.
    pub fn take<T>(
        &self,
        items: impl Iterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> Result<(Vec<T>, Option<String>), Problem> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let detail = format!("limit is {limit}; allowed: 1 to {LIMIT_MAX}");
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        let limit = limit as usize;
        let mut page: Vec<T> = items.take(limit + 1).collect();
        let has_more = limit < page.len();
        page.truncate(limit);
        let next = page.last().filter(|_| has_more).map(key);
        Ok((page, next))
    }

    /// `after` as a topic and a partition; before all of them if it is not given.
    pub fn after_partition(&self) -> Result<(String, i32), Problem> {
        let Some(after) = &self.after else { return Ok((String::new(), -1)) };
        let parts = after.rsplit_once(':').map(|(topic, number)| (topic, number.parse()));
        let Some((topic, Ok(number))) = parts else { return Err(bad_after(after)) };
        Ok((topic.to_owned(), number))
    }

    /// `after` as a number.
    pub fn after_number(&self) -> Result<i32, Problem> {
        let Some(after) = &self.after else { return Ok(-1) };
        after.parse().map_err(|_| bad_after(after))
    }
}

fn bad_after(after: &str) -> Problem {
    let detail = format!("after is {after:?}; allowed: the next of the page before");
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: Option<u32>, count: i32) -> (usize, Option<String>) {
        let query = PageQuery { limit, after: None };
        let (page, next) = query.take(0..count, ToString::to_string).unwrap();
        (page.len(), next)
    }

    #[test]
    fn a_page_names_the_next_one_only_if_there_is_one() {
        assert_eq!(page(Some(3), 4), (3, Some("2".to_owned())));
        assert_eq!(page(Some(3), 3), (3, None));
        assert_eq!(page(Some(3), 0), (0, None));
        assert_eq!(page(None, 1000), (100, Some("99".to_owned())));
    }

    #[test]
    fn limits_outside_the_range_are_refused() {
        for limit in [0, 1001, u32::MAX] {
            let query = PageQuery { limit: Some(limit), after: None };
            assert_eq!(query.take(0..3, ToString::to_string).unwrap_err().status, 400);
        }
        let query = PageQuery { limit: None, after: Some("x".to_owned()) };
        assert!(query.after_number().is_err());
    }
}
