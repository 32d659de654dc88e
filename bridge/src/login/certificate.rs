//! Login by client certificate: TLS has checked it, and said whom it names.

use bytestring::ByteString;

use hubbub_broker::policy::{LoginRefusal, LoginRequest};
use hubbub_broker::topic::check_id;

use super::{Accepted, Verdict};

/// Who shows a certificate is the user that it names, without a password. Who shows none is somebody else's business.
pub(super) fn ask(request: &LoginRequest) -> Verdict {
    match &request.certificate {
        Some(named) => match bearer(named, request.username.as_ref()) {
            Ok(user) => Verdict::Accept(Accepted::lasting(user)),
            Err(refusal) => Verdict::Refuse(refusal),
        },
        None => Verdict::NotMine,
    }
}

/// The user of a certificate, who cannot come in under another name.
pub(super) fn bearer(named: &ByteString, username: Option<&ByteString>) -> Result<ByteString, LoginRefusal> {
    if check_id(named).is_err() {
        return Err(LoginRefusal::NotAuthorized("the name in the client certificate cannot be a user name"));
    }
    match username {
        Some(other) if other != named => {
            Err(LoginRefusal::NotAuthorized("the client certificate is that of another user"))
        }
        _ => Ok(named.clone()),
    }
}
