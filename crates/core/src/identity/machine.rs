//! The host's side: three slots on its disk, and what to do next, given what the control plane says of them.
//!
//! A pure function of the slots and the last answer. It never gives up a certificate that the control plane accepts
//! unless another one of the host's is the active one, and it asks for nothing that is not safe to repeat.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Pin, Role, Standing};

/// What the host's disk holds: up to three certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Slots {
    /// The one in use.
    pub cur: Pin,
    /// The one to come.
    #[serde(default)]
    pub next: Option<Pin>,
    /// The one before.
    #[serde(default)]
    pub prev: Option<Pin>,
}

impl Slots {
    /// A host that has one certificate.
    #[must_use]
    pub fn only(cur: Pin) -> Self {
        Self { cur, next: None, prev: None }
    }

    /// All of them, in the order in which they are tried.
    pub fn all(self) -> impl Iterator<Item = Pin> {
        [Some(self.cur), self.next, self.prev].into_iter().flatten()
    }

    /// The next one takes the place of the current one.
    fn promoted(self, next: Pin) -> Self {
        Self { cur: next, next: None, prev: Some(self.cur) }
    }
}

/// What the host does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Nothing, until it checks in again.
    Rest,
    /// Ask how its certificates stand, over a connection that presents this one.
    Ask {
        /// Presented.
        by: Pin,
    },
    /// Make another key and certificate, durably, and then keep it in `next`.
    Make,
    /// Propose a certificate.
    Propose {
        /// Presented.
        over: Pin,
        /// Proposed.
        pin: Pin,
    },
    /// Confirm a certificate over a connection of its own that presents it.
    Confirm {
        /// Presented, and meant.
        with: Pin,
    },
    /// Make these slots durable, in one step.
    Keep(Slots),
    /// Every certificate was refused. Nothing is given up: they are tried again at the next check-in.
    LockedOut,
}

/// A host that keeps its identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    slots: Slots,
    presents: Pin,
    /// Refused since one was accepted.
    refused: BTreeSet<Pin>,
    /// Somebody on the host ordered that this one be replaced.
    ordered_for: Option<Pin>,
}

impl Machine {
    /// A host whose disk says this.
    #[must_use]
    pub fn open(slots: Slots) -> Self {
        Self { slots, presents: slots.cur, refused: BTreeSet::new(), ordered_for: None }
    }

    /// What its disk says.
    #[must_use]
    pub fn slots(&self) -> Slots {
        self.slots
    }

    /// The certificate to check in with.
    #[must_use]
    pub fn presents(&self) -> Pin {
        self.presents
    }

    /// Whether there is something to ask although the control plane has said nothing of it.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.slots.next.is_some() || self.slots.prev.is_some() || self.is_ordered()
    }

    /// Somebody on the host orders that this certificate be replaced; `None`: nobody does.
    pub fn order(&mut self, replace: Option<Pin>) {
        self.ordered_for = replace;
    }

    fn is_ordered(&self) -> bool {
        self.ordered_for == Some(self.slots.cur)
    }

    /// The control plane has let `by` in and says how the certificates stand.
    #[must_use]
    pub fn told(&mut self, by: Pin, standing: &Standing) -> Step {
        self.refused.clear();
        let is_accepted = |pin| matches!(standing.role(pin), Some(Role::Active | Role::Retiring));
        if is_accepted(self.slots.cur) {
            self.presents = self.slots.cur;
        } else if is_accepted(by) {
            self.presents = by;
        }
        self.plan(by, standing)
    }

    fn plan(&self, by: Pin, standing: &Standing) -> Step {
        let slots = self.slots;
        let is = |pin: Pin, role| standing.role(pin) == Some(role);
        // Whichever slot it is in: after a restored backup it may be the current one.
        if let Some(with) = slots.all().find(|pin| is(*pin, Role::Pending)) {
            return Step::Confirm { with };
        }
        if !is(by, Role::Active) && !is(by, Role::Retiring) {
            return Step::Rest;
        }
        match slots.all().find(|pin| is(*pin, Role::Active)) {
            Some(active) if active == slots.cur => self.plan_with_active_current(by, standing),
            Some(active) if Some(active) == slots.next => Step::Keep(slots.promoted(active)),
            Some(_) | None if standing.role(slots.cur).is_none() => Step::Propose { over: by, pin: slots.cur },
            Some(active) => Step::Keep(Slots { cur: active, next: slots.next, prev: Some(slots.cur) }),
            // It lost the active one, to a disk that lied about having written it: another one at once, and the
            // oldest gives up its slot for that.
            None => match slots.next {
                Some(next) if standing.role(next).is_none() => Step::Propose { over: by, pin: next },
                Some(next) => Step::Keep(Slots { next: None, prev: Some(next), ..slots }),
                None => Step::Make,
            },
        }
    }

    fn plan_with_active_current(&self, by: Pin, standing: &Standing) -> Step {
        let slots = self.slots;
        let is_forgotten = |pin| standing.role(pin).is_none();
        match (slots.next, slots.prev) {
            (Some(next), _) if is_forgotten(next) => Step::Propose { over: by, pin: next },
            // It has had its time, and is the one before; what is still accepted is not given up for it.
            (Some(next), None) => Step::Keep(Slots { next: None, prev: Some(next), ..slots }),
            (Some(next), Some(prev)) if is_forgotten(prev) => {
                Step::Keep(Slots { next: None, prev: Some(next), ..slots })
            }
            (None, Some(prev)) if is_forgotten(prev) => Step::Keep(Slots::only(slots.cur)),
            (Some(_) | None, Some(_)) => Step::Rest,
            (None, None) if standing.renew || self.is_ordered() => Step::Make,
            (None, None) => Step::Rest,
        }
    }

    /// The control plane does not know `by`: the others are tried before that is trouble.
    #[must_use]
    pub fn refused(&mut self, by: Pin) -> Step {
        self.refused.insert(by);
        match self.slots.all().find(|pin| !self.refused.contains(pin)) {
            Some(by) => Step::Ask { by },
            None => {
                self.refused.clear();
                self.presents = self.slots.cur;
                Step::LockedOut
            }
        }
    }

    /// No answer came: nothing is known of what was asked.
    pub fn unheard(&mut self) {
        self.refused.clear();
    }

    /// These slots are on the disk.
    #[must_use]
    pub fn kept(&mut self, slots: Slots) -> Step {
        if !slots.all().any(|pin| pin == self.presents) || slots.cur != self.slots.cur {
            self.presents = slots.cur;
        }
        self.slots = slots;
        Step::Ask { by: self.presents }
    }

    /// The slots once a certificate that was made is in them.
    #[must_use]
    pub fn with_made(&self, pin: Pin) -> Slots {
        Slots { next: Some(pin), ..self.slots }
    }
}
