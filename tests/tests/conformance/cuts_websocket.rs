//! The conversations of [`crate::cuts`] over WebSocket, in frames that do not know where packets begin and end.

use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Hub, RawClient};

use crate::cuts::{Conversation, Healthy, one_edge};
use crate::line::upgrade;

/// First bytes of frames (RFC 6455 §5.2): the last of a message has the highest bit.
const BINARY: u8 = 0x82;
const BINARY_BEGINS: u8 = 0x02;
const GOES_ON: u8 = 0x00;
const ENDS: u8 = 0x80;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

#[test]
fn a_frame_for_each_byte_for_each_packet_or_for_all() {
    let (hub, mut healthy, conversations) = scene();
    for conversation in &conversations {
        let said = &conversation.said;
        let mut packets = vec![0];
        packets.extend(conversation.ends());
        let each_packet = packets.windows(2).map(|ends| &said[ends[0]..ends[1]]).collect();
        let ways: [Vec<&[u8]>; 4] =
            [said.chunks(1).collect(), each_packet, said.chunks(7).collect(), vec![said]];
        for pieces in ways {
            let frames: Vec<Vec<u8>> = pieces.iter().map(|piece| frame(BINARY, piece)).collect();
            let mut one_by_one = upgraded(&hub);
            for frame in &frames {
                one_by_one.sends(frame);
                healthy.is_served();
            }
            assert_eq!(plain(&one_by_one.rest()), conversation.heard, "{} frames", frames.len());
            let mut merged = upgraded(&hub);
            assert_eq!(plain(&merged.sends(frames.concat()).rest()), conversation.heard, "merged");
        }
    }
    healthy.sees_wills(0);
}

#[test]
fn two_frames_with_a_cut_at_every_byte() {
    let (hub, mut healthy, conversations) = scene();
    for conversation in &conversations {
        for cut in 1..conversation.said.len() {
            let (first, second) = conversation.said.split_at(cut);
            let mut socket = upgraded(&hub);
            socket.sends(frame(BINARY, first));
            healthy.is_served();
            assert_eq!(
                plain(&socket.sends(frame(BINARY, second)).rest()),
                conversation.heard,
                "cut at {cut}"
            );
        }
    }
    healthy.sees_wills(0);
}

#[test]
fn one_message_in_fragments_with_pings_between_them() {
    let (hub, mut healthy, conversations) = scene();
    for conversation in &conversations {
        for size in [1, 2, 13] {
            let count = conversation.said.chunks(size).count();
            let mut socket = upgraded(&hub);
            for (number, piece) in conversation.said.chunks(size).enumerate() {
                let first = if number == 0 { BINARY_BEGINS } else { GOES_ON };
                socket.sends(frame(first | if number + 1 == count { ENDS } else { 0 }, piece));
                if number + 1 < count {
                    socket.sends(frame(PING, &number.to_be_bytes()));
                    let pong = socket.takes(2 + size_of::<usize>());
                    assert_eq!((pong[0], &pong[2..]), (PONG, &number.to_be_bytes()[..]), "{pong:02x?}");
                }
            }
            assert_eq!(plain(&socket.rest()), conversation.heard, "fragments of {size}");
            healthy.is_served();
        }
    }
    healthy.sees_wills(0);
}

/// The upgrade and the frames as they are on the socket, so that a frame is cut in its header, its mask and its payload.
#[test]
fn the_upgrade_and_every_frame_cut_at_every_byte() {
    let (hub, mut healthy, conversations) = scene();
    let request = upgrade(&hub, "mqtt");
    for conversation in &conversations {
        let mut bytes = request.clone().into_bytes();
        for piece in conversation.said.chunks(130) {
            bytes.extend(frame(BINARY, piece));
        }
        for cut in 1..bytes.len() {
            let mut socket = RawClient::connect(hub.websocket());
            socket.sends(&bytes[..cut]);
            healthy.is_served();
            let answer = socket.sends(&bytes[cut..]).rest();
            let end = answer.windows(4).position(|end| end == b"\r\n\r\n").expect("an upgrade") + 4;
            assert_eq!(plain(&answer[end..]), conversation.heard, "cut at {cut}");
        }
    }
    healthy.sees_wills(0);
}

#[test]
fn cut_off_at_every_byte_of_its_frames_a_client_is_lost_and_its_will_published() {
    let (hub, mut healthy, conversations) = scene();
    for conversation in &conversations {
        let frames: Vec<Vec<u8>> = conversation.said.chunks(40).map(|piece| frame(BINARY, piece)).collect();
        let ends: Vec<usize> = (1..=frames.len()).map(|count| frames[..count].concat().len()).collect();
        for cut in 0..=ends[ends.len() - 1] {
            // Nothing of a frame counts before it is whole.
            let whole = ends.iter().take_while(|end| **end <= cut).count();
            let said = conversation.said.len().min(40 * whole);
            let mut socket = upgraded(&hub);
            let answer = socket.sends(&frames.concat()[..cut]).half_closes().rest();
            assert_eq!(plain(&answer), conversation.due(said), "cut off at {cut}");
            healthy.sees_wills(usize::from(conversation.leaves_a_will(said)));
        }
    }
    hub.is_healthy();
}

fn scene() -> (Hub, Healthy, Vec<Conversation>) {
    let hub = one_edge();
    let healthy = Healthy::to(&hub);
    let conversations = VERSIONS.iter().map(|version| Conversation::learn(&hub, *version)).collect();
    (hub, healthy, conversations)
}

fn upgraded(hub: &Hub) -> RawClient {
    let mut socket = RawClient::connect(hub.websocket());
    let mut answer = Vec::new();
    socket.sends(upgrade(hub, "mqtt"));
    while !answer.ends_with(b"\r\n\r\n") {
        answer.extend(socket.takes(1));
    }
    socket
}

/// A frame of a client, masked as browsers do.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = crate::line::frame(first, payload);
    let body = frame.len() - payload.len();
    frame[body - 4..body].copy_from_slice(&MASK);
    frame[body..].iter_mut().zip(MASK.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    frame
}

/// What is in the binary frames of the server.
fn plain(mut frames: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while let [first, length, rest @ ..] = frames {
        let (length, rest) = match *length {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            length => (usize::from(length), rest),
        };
        if *first == BINARY {
            plain.extend_from_slice(&rest[..length]);
        }
        frames = &rest[length..];
    }
    plain
}
