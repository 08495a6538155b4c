//! Kafka's names in Rust's spelling.

/// Words that cannot be names of fields as they are.
const KEYWORDS: &[&str] = &["type", "match", "move", "ref", "use", "where", "in", "as", "mod"];

/// `TopicId` as `topic_id`.
pub fn snake(name: &str) -> String {
    let letters: Vec<char> = name.replace("KRaft", "Kraft").chars().collect();
    let mut snake = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let follows_lower = index != 0 && !letters[index - 1].is_uppercase();
        let precedes_lower = letters.get(index + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && index != 0 && (follows_lower || precedes_lower) {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// The name of a field.
pub fn field(name: &str) -> String {
    let snake = snake(name);
    if KEYWORDS.contains(&snake.as_str()) { format!("r#{snake}") } else { snake }
}
