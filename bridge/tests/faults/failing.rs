//! The commit, or the flush after it, fails: at the first one, at the second, and so on through every operation.

use std::sync::Arc;

use hubbub_bridge::bridge::BridgeError;
use hubbub_bridge::store::{MemoryStore, Poisoning, Store};

use crate::faulty::{Fault, Faulty};
use crate::proof::{all, is_whole};
use crate::script::{Operation, script};
use crate::stage::{acknowledged, batch, is_kept, open, turn};

#[test]
fn without_a_fault_everything_is_answered() {
    // Publishes, SUBSCRIBE, UNSUBSCRIBE and PUBREL.
    assert_eq!(runs(None, one_by_one()), (13 + 3, false));
    assert_eq!(runs(None, all_at_once()), (8 + 1, false));
}

#[test]
fn nothing_is_acknowledged_by_a_commit_that_fails_at_any_operation() {
    fails_everywhere(Fault::Refused, one_by_one);
}

#[test]
fn nothing_is_acknowledged_by_a_flush_that_fails_at_any_operation() {
    fails_everywhere(Fault::NotFlushed, one_by_one);
}

#[test]
fn nothing_is_acknowledged_when_many_operations_share_the_commit_that_fails() {
    for fault in [Fault::Refused, Fault::NotFlushed] {
        fails_everywhere(fault, all_at_once);
    }
}

/// The operations of each turn.
type Turns = Vec<Vec<Operation>>;

fn one_by_one() -> Turns {
    script().into_iter().map(|operation| vec![operation]).collect()
}

/// Up to where the first operation takes back what another one did.
fn all_at_once() -> Turns {
    let mut first = script();
    first.truncate(13);
    vec![first]
}

fn fails_everywhere(fault: Fault, turns: impl Fn() -> Turns) {
    let mut well = 0;
    while runs(Some((well, fault)), turns()).1 {
        well += 1;
    }
    assert!(well >= turns().len() as u64 / 2, "{well} commits failed: the script was not carried out");
}

/// Carries out the turns until one fails, then the rest after a restart. How much was answered before that, and whether one
/// failed.
fn runs(fault: Option<(u64, Fault)>, turns: Turns) -> (usize, bool) {
    let disk = Arc::new(MemoryStore::default());
    let store = Arc::new(Poisoning::new(Faulty::new(disk.clone(), fault)));
    let asked: Vec<Operation> = turns.iter().flatten().cloned().collect();
    let mut bridge = match open(store.clone()) {
        Ok(bridge) => bridge,
        Err(error) => {
            is_about_the_store(&error);
            return (0, true);
        }
    };
    let mut answered = 0;
    for (number, operations) in turns.iter().enumerate() {
        let before = all(&*disk);
        match turn(&mut bridge, vec![batch(operations)]) {
            Ok(said) => {
                answered += acknowledged(&said).len();
                is_kept(&said, &asked, &*disk);
                is_whole(&*disk);
            }
            Err(error) => {
                is_about_the_store(&error);
                assert!(store.is_poisoned());
                // Even if somebody asked again.
                turn(&mut bridge, vec![batch(&asked[..1])]).unwrap_err();
                if let Some((_, Fault::Refused)) = fault {
                    assert!(before == all(&*disk), "a refused commit left something behind: {operations:?}");
                }
                is_whole(&*disk);
                goes_on_after_a_restart(disk, &turns[number..], &asked);
                return (answered, true);
            }
        }
    }
    (answered, false)
}

/// Clients that got no answer ask again; what they get leaves nothing by halves, and no message that has an id is there
/// twice.
fn goes_on_after_a_restart(disk: Arc<MemoryStore>, turns: &[Vec<Operation>], asked: &[Operation]) {
    let mut bridge = open(Arc::new(Faulty::new(disk.clone(), None))).unwrap();
    for operations in turns {
        let said = turn(&mut bridge, vec![batch(operations)]).unwrap();
        is_kept(&said, asked, &*disk);
        is_whole(&*disk);
    }
    let hi =
        all(&*disk).iter().filter(|(_, value)| value.windows(6).any(|part| part == br#"y":"hi"#)).count();
    assert_eq!(hi, 1, "the message with a cmid is stored once");
}

fn is_about_the_store(error: &BridgeError) {
    assert!(matches!(error, BridgeError::Store(_)), "{error}");
}
