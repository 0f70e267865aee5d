//! What can go wrong while putting load on a server.
//!
//! Not here: errors of single requests in an open-loop run. Those are counted by code, they do not end it.

/// A load run that could not start or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint is not a URL.
    #[error("`{endpoint}` is not an endpoint: {reason}; expected something like `http://127.0.0.1:7070`")]
    InvalidEndpoint {
        /// As given.
        endpoint: String,
        /// What the parser said.
        reason: String,
    },
    /// What is to be shown to a server, or believed of it, cannot be used.
    #[error("{what}: {reason}; expected an API key in one line, or certificates in PEM")]
    InvalidCredentials {
        /// The file or the variable.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers there.
    #[error("cannot connect to `{endpoint}`: {reason}; is a server running there (`augur serve`)?")]
    Connect {
        /// As given.
        endpoint: String,
        /// The causes, outermost first.
        reason: String,
    },
    /// A setting is out of its range.
    #[error("`{name}` is {found}; expected {expected}")]
    InvalidPlan {
        /// The setting.
        name: &'static str,
        /// What was given.
        found: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// The server refused a whole call.
    #[error("{call} failed{}: {code}: {message}", after(*done))]
    Call {
        /// The method.
        call: &'static str,
        /// Events acknowledged before.
        done: u64,
        /// The gRPC code's name.
        code: String,
        /// What the server said.
        message: String,
    },
    /// The server broke its own contract.
    #[error("{call}: {problem}; client and server may be of different versions")]
    Protocol {
        /// The method.
        call: &'static str,
        /// What came instead of what.
        problem: String,
    },
    /// The numbers of a process cannot be read.
    #[error(
        "cannot read what process {process_id} uses: {problem}; expected the number of a process on this machine"
    )]
    Process {
        /// Its number.
        process_id: u32,
        /// What came instead.
        problem: String,
    },
    /// An echo cannot be served.
    #[error("cannot serve an echo on {listen}: {source}; choose another address, or port 0 for a free one")]
    Serve {
        /// Where it should listen.
        listen: std::net::SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The operating system gave no thread.
    #[error("cannot start the pacing thread: {0}")]
    Thread(#[source] std::io::Error),
}

impl Error {
    /// A failed call, with the number of events acknowledged before it, if it is about events.
    pub fn call(call: &'static str, done: u64, status: &tonic::Status) -> Self {
        Self::Call { call, done, code: code_name(status.code()), message: status.message().to_owned() }
    }
}

fn after(done: u64) -> String {
    if done == 0 { String::new() } else { format!(" after {done} events") }
}

/// The name of a gRPC code as the specification spells it, e.g. `RESOURCE_EXHAUSTED`.
pub(crate) fn code_name(code: tonic::Code) -> String {
    let camel = format!("{code:?}");
    let mut name = String::with_capacity(camel.len() + 2);
    for character in camel.chars() {
        if character.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(character.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_spelled_as_in_the_specification() {
        assert_eq!(code_name(tonic::Code::ResourceExhausted), "RESOURCE_EXHAUSTED");
        assert_eq!(code_name(tonic::Code::Ok), "OK");
    }
}
