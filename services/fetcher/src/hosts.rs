//! Where requests may go (SEC-1): only hosts that the adapter declares, never private addresses unless allowed.
//!
//! Names are resolved by our own resolver, which drops private addresses from every answer, so neither a redirect nor a
//! name that is bound anew reaches the operator's network. Addresses written out in URLs are checked here as well, because
//! they never pass a resolver.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Whether private addresses may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Public addresses only.
    Public,
    /// Any address.
    Anywhere,
}

/// Why a URL is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Forbidden {
    #[error("the adapter does not declare the host {0}")]
    Undeclared(String),
    #[error("the host {0} has a private address, which fetcher.allow_private forbids")]
    Private(String),
    #[error("only http and https are followed")]
    Scheme,
    #[error("https may not be left for http")]
    Downgrade,
}

/// A name that resolves to private addresses only.
#[derive(Debug, thiserror::Error)]
#[error("the host has only private addresses, which fetcher.allow_private forbids")]
pub(crate) struct OnlyPrivate;

/// Whether an address is one of the public internet.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Addresses that carry an IPv4 address lead where that one leads: mapped, compatible, NAT64, 6to4.
    let low = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, tail] => low(high, tail),
        [0x64, 0xff9b, 0, 0, 0, 0, high, tail] => low(high, tail),
        [0x2002, high, tail, ..] => low(high, tail),
        // Only 2000::/3 is given out as public, less documentation and Teredo and their kin.
        [0x2001, second, ..] if second == 0x0db8 || second < 0x0200 => false,
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

/// Checks a URL against the declared host names and the reach.
pub(crate) fn check(url: &Url, declared: &[String], reach: Reach) -> Result<(), Forbidden> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Forbidden::Scheme);
    }
    let Some(host) = url.host() else { return Err(Forbidden::Scheme) };
    let address = match host {
        Host::Ipv4(v4) => Some(IpAddr::V4(v4)),
        Host::Ipv6(v6) => Some(IpAddr::V6(v6)),
        Host::Domain(_) => None,
    };
    let name = url.host_str().unwrap_or_default();
    if !declared.iter().any(|host| host.eq_ignore_ascii_case(name.trim_end_matches('.'))) {
        return Err(Forbidden::Undeclared(name.to_owned()));
    }
    if reach == Reach::Public && address.is_some_and(|address| !is_public(address)) {
        return Err(Forbidden::Private(name.to_owned()));
    }
    Ok(())
}

/// The system's resolver, without what may not be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardedResolver(pub(crate) Reach);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|address| reach == Reach::Anywhere || is_public(address.ip())).collect();
            if allowed.is_empty() {
                return Err(OnlyPrivate.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn sec_1_private_addresses_are_known_in_every_disguise() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
            "2001::1",
            "::127.0.0.1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["1.1.1.1", "193.99.144.80", "2606:4700::1111", "2a00:1450:4001:82a::200e", "64:ff9b::101:101"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn sec_1_only_declared_hosts_are_reached() {
        let declared = ["www.acme.example".to_owned()];
        let judge = |url: &str| check(&Url::parse(url).unwrap(), &declared, Reach::Public);
        assert_eq!(judge("https://WWW.acme.example/x"), Ok(()));
        for other in ["https://acme.example/", "https://www.acme.example.evil.test/", "https://evil.www.acme.example/"]
        {
            assert!(matches!(judge(other), Err(Forbidden::Undeclared(_))), "{other}");
        }
        assert_eq!(judge("ftp://www.acme.example/"), Err(Forbidden::Scheme));
        let metadata = Url::parse("http://169.254.169.254/latest").unwrap();
        let declared = ["169.254.169.254".to_owned()];
        assert!(matches!(check(&metadata, &declared, Reach::Public), Err(Forbidden::Private(_))));
        assert_eq!(check(&metadata, &declared, Reach::Anywhere), Ok(()));
    }

    #[tokio::test]
    async fn sec_1_the_resolver_gives_no_private_address() {
        let name = || "localhost".parse().unwrap();
        assert!(GuardedResolver(Reach::Public).resolve(name()).await.is_err());
        assert!(GuardedResolver(Reach::Anywhere).resolve(name()).await.unwrap().next().is_some());
    }
}
