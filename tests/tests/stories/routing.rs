//! Random subscriptions, publishes, take-overs and ends of sessions, on two edges, against a model of what each client
//! has to receive: every session one copy at the highest quality of its plain subscriptions, every share group one copy.

mod model;
mod world;

use world::World;

/// Steps of one run; each takes a few milliseconds.
const STEPS: usize = 250;

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.steps();
    }
    world.comes_to_rest();
}

macro_rules! seeds {
    ($($name:ident: $seeds:expr;)+) => { $(
        #[test]
        fn $name() {
            $seeds.for_each(run);
        }
    )+ };
}

seeds! {
    delivered_is_what_the_model_says_for_seeds_1_to_4: 1..=4;
    delivered_is_what_the_model_says_for_seeds_5_to_8: 5..=8;
    delivered_is_what_the_model_says_for_seeds_9_to_12: 9..=12;
}
