//! IDs and names of containers.

use crate::error::{Result, invalid};
use rustix::rand::{GetRandomFlags, getrandom};

const ADJECTIVES: &str = "agile amber ample ardent astute avid balmy bold brave breezy bright brisk bubbly calm candid \
    careful cheerful chipper civil clever cosy crisp curious daring dapper deft dreamy eager earnest easy elated fair \
    fancy fearless festive fleet fluent fond frank fresh gallant gentle gifted glad gleeful golden graceful grand \
    hardy hearty helpful honest hopeful humble jaunty jolly jovial keen kind lively loyal lucid lucky mellow merry \
    mighty mild modest neat nimble noble patient peppy placid plucky polite proud quick quiet quirky radiant ready \
    robust rustic sage serene sharp silent sincere sleek snug sober spry stoic sturdy sunny supple swift tender tidy \
    tranquil upbeat valiant vivid warm wise witty zany zesty";

const SURNAMES: &str = "abel ada agnesi albertus ampere anning archimedes avogadro babbage banach bardeen bell bernoulli \
    bessel blackwell bohr boltzmann boole born bose brahe brattain cantor carson cavendish cayley chandrasekhar cori \
    coulomb curie dalton darwin descartes dijkstra dirac easley edison einstein elion euclid euler faraday fermat \
    fermi feynman fibonacci franklin galileo galois gauss germain goeppert goodall hamilton hawking heisenberg \
    hermann hertz hilbert hodgkin hooke hopper huygens hypatia jemison joliot joule kepler khayyam kowalevski lagrange \
    lamarr laplace lavoisier leavitt leibniz linnaeus lovelace lumiere maxwell mayer mcclintock meitner mendel \
    mendeleev mirzakhani mitchell newton nightingale nobel noether ohm pascal pasteur pauli payne planck poincare \
    ptolemy ramanujan ride ritchie rubin russell rutherford sagan schrodinger shannon shockley somerville tesla thales \
    thompson tu turing vaughan volta watt wing wright wu yalow yonath";

/// 64 hex digits of the kernel's randomness. Never all digits in the first twelve: such a short ID would read as a number.
pub(crate) fn random_id() -> String {
    loop {
        let id = hex(&random::<32>());
        if !id[..12].bytes().all(|b| b.is_ascii_digit()) {
            return id;
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    let mut filled = 0;
    while filled < N {
        if let Ok(n) = getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            filled += n;
        }
    }
    bytes
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// `adjective_surname`, with a digit behind it from the second try on.
pub(crate) fn random_name(attempt: u32) -> String {
    let [a, b, c, d, e, ..] = random::<8>();
    let pick = |list: &'static str, n: u16| {
        let words = list.split_whitespace();
        let count = list.split_whitespace().count();
        words.into_iter().nth(usize::from(n) % count).unwrap_or_default()
    };
    let name =
        format!("{}_{}", pick(ADJECTIVES, u16::from_le_bytes([a, b])), pick(SURNAMES, u16::from_le_bytes([c, d])));
    if attempt == 0 { name } else { format!("{name}{}", e % 10) }
}

/// The name without its slash.
///
/// # Errors
/// When it is not `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub(crate) fn check_name(name: &str) -> Result<&str> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut bytes = bare.bytes();
    let good = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bare.len() >= 2
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    match good {
        true => Ok(bare),
        false => Err(invalid!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_as_docker_takes_them() {
        for good in ["ab", "/ab", "a_b.c-d", "0a", "A1"] {
            assert_eq!(check_name(good).unwrap(), good.trim_start_matches('/'));
        }
        for bad in ["", "/", "a", "_a", "-ab", "a b", "a/b", "//ab", "ä1", "ab\n"] {
            assert_eq!(
                check_name(bad).unwrap_err().to_string(),
                format!("Invalid container name ({bad}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
            );
        }
    }

    #[test]
    fn generated_names_are_valid_and_many() {
        let words = |l: &str| l.split_whitespace().map(str::to_owned).collect::<HashSet<_>>().len();
        assert_eq!(words(ADJECTIVES), ADJECTIVES.split_whitespace().count());
        assert_eq!(words(SURNAMES), SURNAMES.split_whitespace().count());
        assert!(words(ADJECTIVES) * words(SURNAMES) > 10_000);
        for attempt in 0..100 {
            check_name(&random_name(attempt)).unwrap();
        }
        let id = random_id();
        assert_eq!((id.len(), id.bytes().all(|b| b.is_ascii_hexdigit())), (64, true));
    }
}
