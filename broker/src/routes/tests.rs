//! The routing table against a model that compares every subscription of every client.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::codec::QoS;
use crate::share::{Choice, Search};
use crate::topic::{TopicLimits, matches};

#[test]
fn counts_and_forgets() {
    let (routes, mut route) = (Routes::default(), Route::default());
    let filter = ByteString::from("a/+");
    let share = Share { group: "g".into(), filter: filter.clone() };
    let share = Want::Share(Box::new(share), Seat::Live(1));
    for want in [Want::Edge(0), Want::Edge(0), Want::Edge(1), Want::Durable, share.clone()] {
        routes.add(&filter, want);
    }
    routes.look_up("a/b", &mut route);
    assert_eq!((route.edges, route.durable, route.shares.len()), (0b11, true, 1));
    for want in [Want::Edge(0), Want::Edge(1), Want::Durable, share] {
        routes.remove(&filter, &want);
    }
    routes.look_up("a/b", &mut route);
    assert_eq!((route.edges, route.durable, route.shares.len()), (0b1, false, 0));
    routes.remove(&filter, &Want::Edge(0));
    assert!(routes.is_empty());
}

const CLIENTS: usize = 6;
const FILTERS: [&str; 6] = ["a", "+", "a/b", "a/+", "a/#", "$x/a"];
const TOPICS: [&str; 5] = ["a", "a/b", "b", "a/b/c", "$x/a"];

/// A session, as the edge of its client sees it.
#[derive(Debug, Clone, Default)]
struct Client {
    edge: u8,
    kept: bool,
    here: bool,
    /// By the text of the filter.
    subscriptions: BTreeMap<String, (TopicFilter, QoS)>,
}

/// What happens to one of the clients.
#[derive(Debug, Clone)]
enum Step {
    /// In a group, if any, at a quality of service.
    Subscribes(&'static str, Option<&'static str>, QoS),
    Unsubscribes(&'static str, Option<&'static str>),
    /// Resumes its session, perhaps as a take-over, and keeps it this time or not.
    Connects(bool),
    Disconnects,
    Ends,
}

#[derive(Debug, Default)]
struct House {
    routes: Routes,
    clients: Vec<Client>,
}

fn step() -> impl Strategy<Value = Step> {
    let filter = || prop::sample::select(&FILTERS[..]);
    let group = || prop::option::of(prop::sample::select(&["g", "h"][..]));
    let qos = prop::sample::select(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][..]);
    prop_oneof![
        6 => (filter(), group(), qos).prop_map(|(filter, group, qos)| Step::Subscribes(filter, group, qos)),
        2 => (filter(), group()).prop_map(|(filter, group)| Step::Unsubscribes(filter, group)),
        2 => any::<bool>().prop_map(Step::Connects),
        1 => Just(Step::Disconnects),
        1 => Just(Step::Ends),
    ]
}

fn parsed(filter: &str, group: Option<&str>) -> TopicFilter {
    let text = group.map_or(filter.to_owned(), |group| format!("$share/{group}/{filter}"));
    TopicFilter::parse(&text.into(), &TopicLimits { levels: 8, bytes: 64 }).unwrap()
}

impl Client {
    fn is_queued(&self, qos: QoS) -> bool {
        self.kept && qos != QoS::AtMostOnce
    }

    /// Every want of the client, as the edges hold them.
    fn wants(&self) -> Vec<(ByteString, Want)> {
        let live = self.subscriptions.values().filter(|_| self.here).flat_map(|(filter, qos)| {
            let wants = Want::live(filter, self.edge, self.kept, *qos);
            wants.map(|want| (filter.filter.clone(), want))
        });
        let durable = self.subscriptions.values().filter(|(_, qos)| self.is_queued(*qos));
        live.chain(durable.map(|(filter, _)| (filter.filter.clone(), Want::durable(filter)))).collect()
    }

    fn matching(&self, topic: &str) -> impl Iterator<Item = &(TopicFilter, QoS)> {
        self.subscriptions.values().filter(move |(filter, _)| matches(&filter.filter, topic))
    }
}

impl House {
    fn takes(&mut self, who: usize, step: Step) {
        let before = self.clients[who].wants();
        let client = &mut self.clients[who];
        match step {
            Step::Connects(kept) => (client.here, client.kept) = (true, kept),
            Step::Disconnects if client.kept => client.here = false,
            Step::Disconnects | Step::Ends => {
                *client = Client { edge: client.edge, ..Client::default() };
            }
            Step::Subscribes(filter, group, qos) if client.here => {
                let filter = parsed(filter, group);
                client.subscriptions.insert(filter.text().to_string(), (filter, qos));
            }
            Step::Unsubscribes(filter, group) if client.here => {
                drop(client.subscriptions.remove(&*parsed(filter, group).text()))
            }
            _ => {}
        }
        // Like the edges: what comes is there before what it replaces goes.
        self.clients[who].wants().iter().for_each(|(filter, want)| self.routes.add(filter, want.clone()));
        before.iter().for_each(|(filter, want)| self.routes.remove(filter, want));
    }

    fn is_routed_as_the_model_says(&self, topic: &str) {
        let mut route = Route::default();
        self.routes.look_up(topic, &mut route);
        let plain = |client: &Client, filter: fn(&Client, QoS) -> bool| {
            client.matching(topic).any(|(f, qos)| f.share.is_none() && filter(client, *qos))
        };
        let edges = self.clients.iter().filter(|client| plain(client, |client, _| client.here));
        assert_eq!(route.edges, edges.fold(0, |bits, client| bits | 1 << client.edge), "{topic}");
        assert_eq!(
            route.durable,
            self.clients.iter().any(|client| plain(client, Client::is_queued)),
            "{topic}"
        );
        let fleeting = |client: &Client, qos| client.here && client.kept && qos == QoS::AtMostOnce;
        assert_eq!(route.fleeting, self.clients.iter().any(|client| plain(client, fleeting)), "{topic}");
        let members = |client: &Client| client.matching(topic).map(|(f, _)| f.clone()).collect::<Vec<_>>();
        let groups: BTreeSet<_> =
            self.clients.iter().flat_map(members).filter(|f| f.share.is_some()).map(|f| f.text()).collect();
        let routed: BTreeSet<_> = route.shares.iter().map(|(share, ..)| share.text()).collect();
        assert!(routed.is_subset(&groups), "{topic}: {routed:?}");
        for group in &groups {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
                self.chooses_as_the_model_says(&route, group, qos);
            }
        }
    }

    /// Once around a group, every connected member has its turn; whoever is away has one only if nobody is connected.
    fn chooses_as_the_model_says(&self, route: &Route, group: &str, qos: QoS) {
        let members = self.clients.iter().filter_map(|client| {
            let (_, granted) = client.subscriptions.get(group)?;
            Some((client, client.is_queued(qos.min(*granted))))
        });
        let (here, away): (Vec<_>, Vec<_>) = members.partition(|(client, _)| client.here);
        let mut expected: Vec<Option<Choice>> = here
            .iter()
            .map(|(client, queued)| Some(if *queued { Choice::Bridge } else { Choice::Edge(client.edge) }))
            .collect();
        if expected.is_empty() {
            expected.push(away.iter().any(|(_, queued)| *queued).then_some(Choice::Bridge));
        }
        let seats = route.shares.iter().filter(|(share, ..)| *share.text() == *group);
        let seats = seats.map(|(_, seat, count)| (*seat, *count));
        let share = parsed(group, None);
        let search = Search::new(Share { group: share.share.unwrap(), filter: share.filter });
        let mut chosen: Vec<_> =
            (0..expected.len()).map(|turn| search.choose(seats.clone(), qos, turn)).collect();
        let by_place = |choice: &Option<Choice>| match choice {
            None => -2,
            Some(Choice::Bridge) => -1,
            Some(Choice::Edge(edge)) => i32::from(*edge),
        };
        chosen.sort_by_key(by_place);
        expected.sort_by_key(by_place);
        assert_eq!(chosen, expected, "{group} at {qos:?}");
    }
}

proptest! {
    /// Whatever came and went before, a publish goes where somebody wants it and nowhere else.
    #[test]
    fn agrees_with_the_model(steps in prop::collection::vec((0..CLIENTS, step()), 0..60)) {
        let clients = (0..CLIENTS).map(|n| Client { edge: (n % 3) as u8, here: true, kept: n % 2 == 0, ..Client::default() });
        let mut house = House { clients: clients.collect(), ..House::default() };
        for (who, step) in steps {
            house.takes(who, step);
            TOPICS.iter().for_each(|topic| house.is_routed_as_the_model_says(topic));
        }
        for who in 0..CLIENTS {
            house.takes(who, Step::Ends);
        }
        prop_assert!(house.routes.is_empty(), "nothing stays behind");
    }
}
