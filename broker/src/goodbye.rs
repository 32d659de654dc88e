//! The catalogue of goodbyes: every reason for which the server ends a connection.

/// Why the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Goodbye {
    /// The client said DISCONNECT; nothing is answered.
    ByClient,
    /// The client said DISCONNECT and asked for its will.
    ByClientWithWill,
    /// The socket ended without a word.
    LinkLost,
    /// Bytes that are no MQTT; carries the reason code.
    Malformed(u8, &'static str),
    /// More unanswered QoS 1 and 2 messages than the Receive Maximum allows.
    ReceiveMaximum,
    /// Nothing was heard for one and a half keep-alive times.
    KeepAlive,
    /// The same client id connected again.
    TakenOver,
    /// The user logged in on another device of a class of which there is one (R68).
    LoggedInElsewhere,
    /// The server stops.
    ShuttingDown,
    /// The server stops, and names another one (`server.redirect`).
    UseAnotherServer,
    /// The disk is full or fails: nothing more can be acknowledged, so the server ends.
    StoreFailed,
    /// The client reads so slowly that what waits for it exceeds its bound.
    SlowReader,
    /// The client went on publishing faster than it may.
    TooManyPublishes,
    /// The client went on sending more bytes than it may.
    TooManyBytes,
    /// An operator, or a change of rights, ended it.
    Administrative,
    /// The login was good for a time, and that is over.
    LoginOver,
    /// The server cannot serve this connection now.
    Busy,
    /// The client is not (any more) who it said, or failed to prove it again (MQTT 5 §4.12.1); says why.
    NotAuthenticated(&'static str),
    /// A 3.x client published where it may not: these versions have no other answer.
    Denied,
    /// An answer that has to be given is larger than the client takes (§3.1.2.11.4).
    AnswerTooLarge,
    /// Something is wrong with the server itself.
    Internal,
}

impl Goodbye {
    /// Reason code of the MQTT 5 DISCONNECT (§3.14.2.1); nothing if there is none to send.
    ///
    /// 3.1 and 3.1.1 have no DISCONNECT from the server: their connection is closed.
    pub fn code(self) -> Option<u8> {
        match self {
            Goodbye::ByClient | Goodbye::ByClientWithWill | Goodbye::LinkLost => None,
            Goodbye::Malformed(code, _) => Some(code),
            Goodbye::ReceiveMaximum => Some(0x93),
            Goodbye::KeepAlive => Some(0x8d),
            Goodbye::TakenOver | Goodbye::LoggedInElsewhere => Some(0x8e),
            Goodbye::ShuttingDown => Some(0x8b),
            Goodbye::UseAnotherServer => Some(0x9c),
            // "Implementation specific error".
            Goodbye::StoreFailed => Some(0x83),
            Goodbye::SlowReader | Goodbye::TooManyBytes => Some(0x97),
            Goodbye::TooManyPublishes => Some(0x96),
            Goodbye::Administrative => Some(0x98),
            // "Maximum connect time".
            Goodbye::LoginOver => Some(0xa0),
            Goodbye::Busy => Some(0x89),
            Goodbye::NotAuthenticated(_) | Goodbye::Denied => Some(0x87),
            Goodbye::AnswerTooLarge => Some(0x95),
            Goodbye::Internal => Some(0x80),
        }
    }

    /// One sentence for logs and reason strings.
    pub fn text(self) -> &'static str {
        match self {
            Goodbye::ByClient => "goodbye",
            Goodbye::ByClientWithWill => "goodbye, with will",
            Goodbye::LinkLost => "the link was lost",
            Goodbye::Malformed(_, what) => what,
            Goodbye::ReceiveMaximum => "more unacknowledged messages than the receive maximum",
            Goodbye::KeepAlive => "nothing was heard for one and a half times the keep-alive",
            Goodbye::TakenOver => "the same client id connected again",
            Goodbye::LoggedInElsewhere => "the user logged in on another device of this class",
            Goodbye::ShuttingDown => "server shutting down",
            Goodbye::UseAnotherServer => "server shutting down, use the other one",
            Goodbye::StoreFailed => "the server cannot store messages any more",
            Goodbye::SlowReader => "the client reads too slowly",
            Goodbye::TooManyPublishes => "more messages a second than allowed, for too long",
            Goodbye::TooManyBytes => "more bytes a second than allowed, for too long",
            Goodbye::Administrative => "ended by an operator",
            Goodbye::LoginOver => "the login was good until now: log in again",
            Goodbye::Busy => "the server is busy",
            Goodbye::NotAuthenticated(why) => why,
            Goodbye::Denied => "not authorized",
            Goodbye::AnswerTooLarge => "the answer is larger than the client takes",
            Goodbye::Internal => "the server has a problem",
        }
    }

    /// Whether the client does well to connect again by itself (R15).
    pub fn may_return(self) -> bool {
        matches!(
            self,
            Goodbye::LinkLost
                | Goodbye::KeepAlive
                | Goodbye::ShuttingDown
                | Goodbye::UseAnotherServer
                | Goodbye::StoreFailed
                | Goodbye::SlowReader
                | Goodbye::TooManyPublishes
                | Goodbye::TooManyBytes
                | Goodbye::LoginOver
                | Goodbye::Busy
        )
    }

    /// Whether it is said on `u/{me}/notice` as well, where the version has no other word for it: it concerns the user.
    pub fn is_worth_a_notice(self) -> bool {
        matches!(self, Goodbye::LoggedInElsewhere | Goodbye::Administrative | Goodbye::NotAuthenticated(_))
    }

    /// Whether somebody decided it, a rule or an operator: worth a line in the audit log. Mistakes of the protocol, lost
    /// links and a server that stops are not.
    pub fn is_a_kick(self) -> bool {
        matches!(
            self,
            Goodbye::Administrative
                | Goodbye::LoggedInElsewhere
                | Goodbye::NotAuthenticated(_)
                | Goodbye::Denied
                | Goodbye::SlowReader
                | Goodbye::TooManyPublishes
                | Goodbye::TooManyBytes
        )
    }

    /// Whether the will is published (§3.1.2.5): after every end but a plain DISCONNECT from the client.
    pub fn fires_will(self) -> bool {
        self != Goodbye::ByClient
    }
}
