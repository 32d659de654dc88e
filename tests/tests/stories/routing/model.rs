//! What has to be delivered, without any of the server's indexes: every filter is compared with every topic.

use std::collections::{BTreeMap, BTreeSet};

/// A share group, if any, and a filter.
pub type Subscribed = (Option<&'static str>, &'static str);

/// A copy of the message with this number at this quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Copy {
    pub number: u32,
    pub qos: u8,
}

/// A session.
#[derive(Debug, Default)]
pub struct Session {
    pub kept: bool,
    pub here: bool,
    pub granted: BTreeMap<Subscribed, u8>,
    /// What plain subscriptions have to bring and have not brought yet.
    pub expected: Vec<Copy>,
}

/// One copy that a share group owes.
#[derive(Debug)]
struct Debt {
    group: Subscribed,
    published: u8,
    /// Who may get it, and at which quality of service.
    holders: BTreeSet<(usize, u8)>,
    /// Who had it may have gone when there was nobody else.
    may_be_lost: bool,
}

/// All sessions, and what is owed to the groups, by number of the message.
#[derive(Debug, Default)]
pub struct Model {
    pub sessions: Vec<Session>,
    debts: BTreeMap<u32, Vec<Debt>>,
    /// Who got a copy in the name of a group.
    paid: BTreeMap<u32, Vec<(usize, u8)>>,
}

impl Session {
    /// Whether a copy at this quality of service reaches it, now or when it is back.
    fn takes(&self, qos: u8) -> bool {
        self.here || (self.kept && qos > 0)
    }
}

impl Model {
    /// A message is published: the plain copies and, for each group, who may get its one copy: whoever is connected,
    /// and whoever is away only if nobody is.
    pub fn publish(&mut self, number: u32, topic: &str, qos: u8) {
        for session in &mut self.sessions {
            let matching = session
                .granted
                .iter()
                .filter(|((group, filter), _)| group.is_none() && covers(filter, topic));
            if let Some(granted) = matching.map(|(_, granted)| *granted).max() {
                let qos = qos.min(granted);
                if session.takes(qos) {
                    session.expected.push(Copy { number, qos });
                }
            }
        }
        let all = self.sessions.iter().flat_map(|session| session.granted.keys());
        let groups: BTreeSet<Subscribed> =
            all.filter(|(group, filter)| group.is_some() && covers(filter, topic)).copied().collect();
        for group in groups {
            let mut holders = self.members(group, qos);
            if holders.iter().any(|(who, _)| self.sessions[*who].here) {
                holders.retain(|(who, _)| self.sessions[*who].here);
            }
            if !holders.is_empty() {
                let debt = Debt { group, published: qos, holders, may_be_lost: false };
                self.debts.entry(number).or_default().push(debt);
            }
        }
    }

    /// Everybody who can get a copy in the name of this group.
    fn members(&self, group: Subscribed, qos: u8) -> BTreeSet<(usize, u8)> {
        let granted = self.sessions.iter().enumerate().filter_map(|(who, session)| {
            let qos = qos.min(*session.granted.get(&group)?);
            session.takes(qos).then_some((who, qos))
        });
        granted.collect()
    }

    /// A copy arrived: because of a plain subscription, or else in the name of a group.
    pub fn receives(&mut self, who: usize, copy: Copy) {
        let expected = &mut self.sessions[who].expected;
        if let Some(at) = expected.iter().position(|known| *known == copy) {
            expected.remove(at);
            return;
        }
        let paid = self.paid.entry(copy.number).or_default();
        paid.push((who, copy.qos));
        let debts = self.debts.get(&copy.number).map(Vec::as_slice).unwrap_or_default();
        assert!(
            assigned(paid, debts).is_some(),
            "client {who} got {copy:?}; of that are paid {paid:?} of {debts:?}"
        );
    }

    /// A session is over, with these copies unacknowledged: what was sent at QoS 2 is nobody else's, all other copies of
    /// groups go to another member.
    pub fn ends(&mut self, who: usize, unacknowledged: &[Copy]) {
        for copy in unacknowledged.iter().filter(|copy| copy.qos == 1) {
            let paid = self.paid.entry(copy.number).or_default();
            if let Some(at) = paid.iter().position(|known| *known == (who, 1)) {
                paid.remove(at);
            }
        }
        self.sessions[who] = Session::default();
        let mut debts = std::mem::take(&mut self.debts);
        for debt in debts.values_mut().flatten().filter(|debt| debt.is_held_by(who)) {
            let others = self.members(debt.group, debt.published);
            debt.may_be_lost |= others.is_empty();
            debt.holders.extend(others);
        }
        self.debts = debts;
    }

    /// Whoever is here has everything by now that plain subscriptions bring; and so has a group of which somebody was
    /// connected when the message with this number was published.
    pub fn is_paid(&self, number: Option<u32>) {
        for (who, session) in self.sessions.iter().enumerate().filter(|(_, session)| session.here) {
            assert!(session.expected.is_empty(), "client {who} misses {:?}", session.expected);
        }
        let here = |debt: &&Debt| debt.holders.iter().any(|(who, _)| self.sessions[*who].here);
        if let Some(debts) = number.and_then(|number| self.debts.get(&number)) {
            self.is_paid_of(number.unwrap(), debts.iter().filter(here).count());
        }
    }

    /// Everybody is here: no group waits for anything.
    pub fn all_is_paid(&self) {
        for (number, debts) in &self.debts {
            self.is_paid_of(*number, debts.iter().filter(|debt| !debt.may_be_lost).count());
        }
    }

    fn is_paid_of(&self, number: u32, least: usize) {
        let paid = self.paid.get(&number).map_or(0, Vec::len);
        assert!(paid >= least, "{paid} of {least} copies of {number} came: {:?}", self.debts[&number]);
    }
}

impl Debt {
    fn is_held_by(&self, who: usize) -> bool {
        self.holders.iter().any(|(holder, _)| *holder == who)
    }
}

/// Gives each copy to a debt that it can have paid; nothing if that is impossible.
fn assigned(paid: &[(usize, u8)], debts: &[Debt]) -> Option<()> {
    fn go(paid: &[(usize, u8)], debts: &[Debt], used: u32) -> Option<()> {
        let Some((copy, rest)) = paid.split_first() else { return Some(()) };
        let fits = |(at, debt): &(usize, &Debt)| used & (1 << at) == 0 && debt.holders.contains(copy);
        debts.iter().enumerate().filter(fits).find_map(|(at, _)| go(rest, debts, used | 1 << at))
    }
    go(paid, debts, 0)
}

fn covers(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(part), Some(level)) if part == level => {}
            _ => return false,
        }
    }
}
