//! Walks all states of a small world, and stops at the first that has a fault.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash};

pub(crate) trait World {
    type State: Copy + Eq + Hash;

    fn first(&self) -> Self::State;

    /// All states that one step leads to.
    fn successors(&self, state: &Self::State, next: &mut Vec<Self::State>);

    /// What is wrong with this state.
    fn fault(&self, state: &Self::State) -> Option<&'static str>;

    /// Whether all is done.
    fn is_at_rest(&self, state: &Self::State) -> bool;
}

/// The number of states that can be reached, if none has a fault and from each there is a way to rest.
pub(crate) fn explore<W: World>(world: &W) -> Result<usize, &'static str> {
    let mut states = vec![world.first()];
    let mut numbers: HashMap<W::State, usize, BuildHasherDefault<DefaultHasher>> = HashMap::default();
    numbers.insert(states[0], 0);
    let (mut steps, mut next, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(state) = states.get(at) {
        if let Some(fault) = world.fault(state) {
            return Err(fault);
        }
        world.successors(state, &mut next);
        for successor in next.drain(..) {
            let number = *numbers.entry(successor).or_insert_with(|| {
                states.push(successor);
                states.len() - 1
            });
            steps.push((at, number));
        }
        at += 1;
    }
    let mut leads_to_rest: Vec<bool> = states.iter().map(|state| world.is_at_rest(state)).collect();
    let mut more = true;
    while more {
        more = false;
        for (from, to) in steps.iter().rev() {
            if leads_to_rest[*to] && !leads_to_rest[*from] {
                leads_to_rest[*from] = true;
                more = true;
            }
        }
    }
    if leads_to_rest.contains(&false) {
        return Err("there is a state from which there is no way to rest");
    }
    Ok(states.len())
}
