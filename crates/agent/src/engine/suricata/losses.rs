//! Since when something is lost of what the engine says. A state, not a counter: it stands for an hour after the last loss.

use watchpost_core::time::Timestamp;

use crate::sensor::stream::LOSS_LASTS;

/// What is known of losses.
#[derive(Debug, Default)]
pub(super) struct Losses {
    counted: u64,
    /// Since when, and when the last one was.
    losing: Option<(Timestamp, Timestamp)>,
}

impl Losses {
    /// So many pieces are lost by now, since the sensor started; says since when there are losses.
    pub(super) fn look(&mut self, counted: u64, now: Timestamp) -> Option<Timestamp> {
        self.losing = self.losing.filter(|(_, last)| now.since(*last) < LOSS_LASTS);
        if std::mem::replace(&mut self.counted, counted) < counted {
            self.losing = Some((self.losing.map_or(now, |(since, _)| since), now));
        }
        self.losing.map(|(since, _)| since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_known_until_an_hour_after_the_last() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let mut losses = Losses::default();
        assert_eq!(losses.look(0, at(1)), None);
        assert_eq!(losses.look(2, at(10)), Some(at(10)));
        assert_eq!(losses.look(3, at(3_000)), Some(at(10)));
        assert_eq!(losses.look(3, at(6_599)), Some(at(10)));
        assert_eq!(losses.look(3, at(6_600)), None);
        assert_eq!(losses.look(4, at(6_601)), Some(at(6_601)));
    }
}
