//! Where a call comes from: the caller that limits count by is an address.
//!
//! Not here: what callers may use up (`crate::limits`), or who they are and what they may call (`crate::access`).

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::address::{AddressRange, of_one_caller};

/// Where a proxy says whom it calls for.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Who calls, as far as it is known; an extension of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// What of the caller's address stands for one caller; `None` where there is no network.
    pub(crate) address: Option<IpAddr>,
    pub(crate) origin: Origin,
}

/// Where a caller comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The same machine.
    Loopback,
    /// A network that is not the internet.
    Private,
    /// Anywhere else.
    Public,
    /// No address is known.
    Unknown,
}

impl Origin {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Public => "public",
            Self::Unknown => "unknown",
        }
    }

    fn of(address: IpAddr) -> Self {
        let is_private = match address {
            IpAddr::V4(address) => address.is_private() || address.is_link_local(),
            IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
        };
        match address {
            address if address.is_loopback() => Self::Loopback,
            _ if is_private => Self::Private,
            _ => Self::Public,
        }
    }
}

/// Recognises callers.
#[derive(Debug, Clone)]
pub(crate) struct Callers {
    trusted_proxies: Arc<[AddressRange]>,
}

impl Callers {
    pub(crate) fn new(trusted_proxies: &[AddressRange]) -> Self {
        Self { trusted_proxies: trusted_proxies.into() }
    }

    /// The caller at the other end of a connection or, behind a trusted proxy that says so, the one it calls for.
    pub(crate) fn recognise(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Caller {
        let Some(peer) = peer.map(|peer| peer.to_canonical()) else {
            return Caller { address: None, origin: Origin::Unknown };
        };
        let address = self.forwarded(peer, headers).unwrap_or(peer);
        Caller { address: Some(of_one_caller(address)), origin: Origin::of(address) }
    }

    /// The last address of the last header: what stands before it may be anybody's claim.
    fn forwarded(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let header = headers.get_all(FORWARDED_FOR).iter().next_back()?;
        if !self.trusted_proxies.iter().any(|range| range.contains(&peer)) {
            return None;
        }
        let last = header.to_str().ok()?.rsplit(',').next()?.trim();
        last.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognised(peer: &str, forwarded: &[&str]) -> (String, Origin) {
        let callers = Callers::new(&["127.0.0.0/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let caller = callers.recognise(Some(peer.parse().unwrap()), &headers);
        (caller.address.unwrap().to_string(), caller.origin)
    }

    #[test]
    fn a_caller_is_its_address_or_what_a_trusted_proxy_says() {
        assert_eq!(recognised("10.0.0.7", &[]), ("10.0.0.7".to_owned(), Origin::Private));
        assert_eq!(recognised("::ffff:8.8.8.8", &[]), ("8.8.8.8".to_owned(), Origin::Public));
        assert_eq!(recognised("2001:db8::1:2:3:4", &[]).0, "2001:db8::");
        assert_eq!(recognised("127.0.0.1", &["9.9.9.9, 8.8.8.8"]), ("8.8.8.8".to_owned(), Origin::Public));
        assert_eq!(recognised("127.0.0.1", &["8.8.8.8", "7.7.7.7"]).0, "7.7.7.7");
        assert_eq!(recognised("127.0.0.1", &["nonsense"]), ("127.0.0.1".to_owned(), Origin::Loopback));
        // Whoever is not trusted may say what it likes.
        assert_eq!(recognised("10.0.0.7", &["8.8.8.8"]).0, "10.0.0.7");
        let nobody = Callers::new(&[]).recognise(None, &HeaderMap::new());
        assert_eq!((nobody.address, nobody.origin.as_str()), (None, "unknown"));
    }
}
