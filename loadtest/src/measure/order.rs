//! What one receiver has heard of one stream: what is missing, and what came twice or out of order. Pure.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    ops::AddAssign,
};

use serde::{Deserialize, Serialize};

/// Streams are numbered from 0 without a hole, so what is missing is known as soon as something later comes.
#[derive(Debug, Default)]
pub struct Order {
    /// The number that is expected next.
    next: u64,
    /// Missing below `next`: start → end (exclusive).
    missing: BTreeMap<u64, u64>,
    /// Numbers below this were heard on an earlier connection, and may come once more after a cursor.
    before: u64,
    /// On a connection that came back: the number heard last, as long as it is below `before`.
    again: Option<u64>,
    heard: u64,
    pub faults: Faults,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    pub lost: u64,
    /// On one connection.
    pub twice: u64,
    pub out_of_order: u64,
    /// Not a fault: seen again after a cursor.
    pub repeated: u64,
}

/// Those that there are.
impl Display for Faults {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kinds = [
            (self.lost, "lost"),
            (self.twice, "delivered twice"),
            (self.out_of_order, "out of order"),
        ];
        let told: Vec<String> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        f.write_str(&told.join(", "))
    }
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.twice += other.twice;
        self.out_of_order += other.out_of_order;
        self.repeated += other.repeated;
    }
}

impl Order {
    /// Takes the next message in. True if it was not heard before.
    pub fn hear(&mut self, number: u64) -> bool {
        if number == self.next {
            self.next += 1;
            self.heard += 1;
            return true;
        }
        if number > self.next {
            self.missing.insert(self.next, number);
            self.next = number + 1;
            self.heard += 1;
            return true;
        }
        self.hear_late(number)
    }

    fn hear_late(&mut self, number: u64) -> bool {
        if self.fill(number) {
            self.heard += 1;
            self.faults.out_of_order += 1;
            return true;
        }
        if number >= self.before {
            self.faults.twice += 1;
        } else if self.again.is_some_and(|last| number <= last) {
            self.faults.out_of_order += 1;
        } else {
            self.again = Some(number);
            self.faults.repeated += 1;
        }
        false
    }

    /// Whether the number was missing; then it is no more.
    fn fill(&mut self, number: u64) -> bool {
        let Some((&start, &end)) = self.missing.range(..=number).next_back() else {
            return false;
        };
        if number >= end {
            return false;
        }
        self.missing.remove(&start);
        if start < number {
            self.missing.insert(start, number);
        }
        if number + 1 < end {
            self.missing.insert(number + 1, end);
        }
        true
    }

    /// The receiver is connected anew, with its cursor.
    pub fn come_back(&mut self) {
        self.before = self.next;
        self.again = None;
    }

    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// All faults, given how many were sent.
    pub fn settled(&self, sent: u64) -> Faults {
        Faults {
            lost: sent.saturating_sub(self.heard),
            ..self.faults
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(order: &mut Order, numbers: &[u64]) {
        for number in numbers {
            order.hear(*number);
        }
    }

    #[test]
    fn all_in_order_is_no_fault() {
        let mut order = Order::default();
        hear(&mut order, &[0, 1, 2, 3]);
        assert_eq!(order.settled(4), Faults::default());
    }

    #[test]
    fn faults_are_told_in_words() {
        let faults = Faults {
            lost: 3,
            twice: 0,
            out_of_order: 1,
            repeated: 7,
        };
        assert_eq!(faults.to_string(), "3 lost, 1 out of order");
    }

    #[test]
    fn what_never_came_is_lost_at_the_end_and_in_the_middle() {
        let mut order = Order::default();
        hear(&mut order, &[0, 3, 4]);
        assert_eq!(
            order.settled(7),
            Faults {
                lost: 4,
                ..Faults::default()
            }
        );
    }

    #[test]
    fn two_that_change_places_are_out_of_order_once() {
        let mut order = Order::default();
        hear(&mut order, &[0, 2, 1, 3]);
        assert_eq!(
            order.settled(4),
            Faults {
                out_of_order: 1,
                ..Faults::default()
            }
        );
    }

    #[test]
    fn a_hole_may_be_filled_from_any_side() {
        let mut order = Order::default();
        hear(&mut order, &[9, 4, 0, 8, 5, 3, 6, 7, 1, 2]);
        assert_eq!(
            order.settled(10),
            Faults {
                out_of_order: 9,
                ..Faults::default()
            }
        );
    }

    #[test]
    fn the_same_twice_on_one_connection_is_a_fault() {
        let mut order = Order::default();
        hear(&mut order, &[0, 1, 1, 0, 2]);
        assert_eq!(
            order.settled(3),
            Faults {
                twice: 2,
                ..Faults::default()
            }
        );
    }

    #[test]
    fn after_a_cursor_messages_may_be_seen_again_in_their_order() {
        let mut order = Order::default();
        hear(&mut order, &[0, 1, 2, 3]);
        order.come_back();
        hear(&mut order, &[2, 3, 4, 5]);
        assert_eq!(
            order.settled(6),
            Faults {
                repeated: 2,
                ..Faults::default()
            }
        );
    }

    #[test]
    fn after_a_cursor_the_old_order_still_holds() {
        let mut order = Order::default();
        hear(&mut order, &[0, 1, 2, 3]);
        order.come_back();
        hear(&mut order, &[3, 2, 4, 4]);
        assert_eq!(
            order.settled(5),
            Faults {
                repeated: 1,
                out_of_order: 1,
                twice: 1,
                lost: 0
            }
        );
    }
}
