//! Scenario scripts: text files of steps and what each of them brought about, for tests of groups.
//!
//! A script is a list of cases: a line with a directive and its arguments, `----`, and what is expected. With
//! `REWRITE=1` the expected parts are written anew, to be read as a diff; `RUN=name.txt` runs one script.
//! A machine brings the directives that it understands ([`Machine`]); those of every script are:
//!
//! | directive | what it does |
//! |---|---|
//! | `settings name=value …` | changes settings of the group; times as `3s`, `500ms`, `2m` |
//! | `topic name partitions=n` | creates a topic |
//! | `tick 3s` | lets time pass, and does what becomes due on the way |
//! | `abandon who` | the client of the request `who` hangs up |
//! | `crash` | the coordinator goes, and the group is restored from what is durable; `keep=n` loses all but the first n writes of the last step |
//! | `journal` | shows what is durable, `journal name` only keys that contain the name |
//!
//! What a step brings about is shown so: `put key`, `delete key`, `who <= answer` once durable,
//! `who <- answer` at once, and a last line `= …` with the machine's own words about its state.
//! Requests are named by who sends them. Ids that the server makes are shown as `client-1`, `client-2`, ….

mod case;
mod names;
mod render;
mod world;

use std::time::Duration;

pub(crate) use case::Case;
pub(crate) use world::World;

use super::Context;

/// A machine that scripts can drive.
pub(crate) trait Machine: Sized {
    /// As it is before the first request.
    fn new() -> Self;

    /// Does a directive of its own. An error is shown; `Err` of an unknown directive ends the test.
    fn step(&mut self, case: &mut Case, world: &mut World) -> Result<String, String>;

    /// The client that sent the request hung up.
    fn abandon(&mut self, ticket: super::Ticket, cx: &mut Context<'_>);

    /// When it wants to be called.
    fn next_deadline(&self) -> Option<Duration>;

    /// Does what is due.
    fn on_timer(&mut self, cx: &mut Context<'_>);

    /// Itself, as whoever finds `world.journal` makes it.
    fn restore(world: &World) -> Self;

    /// Its state in one line.
    fn state(&self) -> String;
}

/// Runs every script of a folder below `src/group/scenarios`.
pub(crate) fn run<M: Machine>(folder: &str) {
    datadriven::walk(&format!("src/group/scenarios/{folder}"), |file| {
        let mut world = World::new();
        let mut machine = M::new();
        file.run(|case| {
            let mut case = Case::new(case.clone());
            let shown = step(&mut machine, &mut case, &mut world);
            let unused = case.unused();
            assert!(unused.is_empty(), "{}: arguments {unused:?} mean nothing", case.directive());
            shown
        });
    });
}

fn step<M: Machine>(machine: &mut M, case: &mut Case, world: &mut World) -> String {
    match case.directive() {
        "settings" => world.settings(case),
        "topic" => world.topic(case),
        "journal" => return world.show_journal(case),
        "tick" => return tick(machine, case, world),
        "crash" => {
            world.lose_writes(case);
            *machine = M::restore(world);
        }
        "abandon" => {
            let ticket = world.ticket_of(&case.subject());
            world.with(|cx| machine.abandon(ticket, cx));
        }
        _ => match machine.step(case, world) {
            Ok(text) => return finish(machine, world, text),
            Err(error) => panic!("{}: {error}", case.directive()),
        },
    }
    finish(machine, world, String::new())
}

fn finish<M: Machine>(machine: &M, world: &mut World, mut shown: String) -> String {
    shown.push_str(&world.take_effects());
    let left = machine.next_deadline().map(|at| at.saturating_sub(world.now.monotonic));
    let next = left.map_or(String::new(), |left| format!(", next in {}", case::seconds(left)));
    shown.push_str(&format!("= {}{next}\n", machine.state()));
    world.named(&shown)
}

fn tick<M: Machine>(machine: &mut M, case: &mut Case, world: &mut World) -> String {
    let duration = case::duration(&case.subject());
    let start = world.now.monotonic;
    let end = start + duration;
    let mut shown = String::new();
    while let Some(at) = machine.next_deadline().filter(|at| *at <= end) {
        world.advance_to(at.max(world.now.monotonic));
        world.with(|cx| machine.on_timer(cx));
        let effects = world.take_effects();
        if !effects.is_empty() {
            let after = world.now.monotonic.saturating_sub(start);
            shown.push_str(&format!("after {}:\n{effects}", case::seconds(after)));
        }
    }
    world.advance_to(end);
    finish(machine, world, shown)
}
