//! One pinned 64-bit hash of property values, for counting different ones.
//!
//! SipHash-2-4 (Aumasson and Bernstein, INDOCRYPT 2012) under a fixed key. States hold its results, so neither the
//! function nor the key ever changes; another hash would be another version of the state record. Not here:
//! protection against values made to collide, which would need a secret.

use augur_domain::Value;

const KEY: [u64; 2] = [u64::from_le_bytes(*b"augur di"), u64::from_le_bytes(*b"stinct 1")];

/// The hash of a value; values of different types never count as the same.
pub(super) fn hash(value: &Value) -> u64 {
    let mut hasher = SipHash::new(KEY);
    match value {
        Value::Boolean(truth) => hasher.write(&[0, u8::from(*truth)]),
        Value::Number(number) => {
            let mut bytes = [1; 9];
            for (to, from) in bytes.iter_mut().skip(1).zip(number.get().to_bits().to_le_bytes()) {
                *to = from;
            }
            hasher.write(&bytes);
        }
        Value::Text(text) => {
            hasher.write(text.as_bytes());
            hasher.write(&[2]);
        }
    }
    hasher.finish()
}

struct SipHash {
    state: [u64; 4],
    /// Bytes not yet mixed in, the first in the lowest place.
    tail: u64,
    length: u64,
}

impl SipHash {
    const fn new([first, second]: [u64; 2]) -> Self {
        let state = [
            first ^ 0x736f_6d65_7073_6575,
            second ^ 0x646f_7261_6e64_6f6d,
            first ^ 0x6c79_6765_6e65_7261,
            second ^ 0x7465_6462_7974_6573,
        ];
        Self { state, tail: 0, length: 0 }
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.tail |= u64::from(byte) << (8 * (self.length % 8));
            self.length = self.length.wrapping_add(1);
            if self.length.is_multiple_of(8) {
                let word = std::mem::take(&mut self.tail);
                self.mix(word);
            }
        }
    }

    const fn mix(&mut self, word: u64) {
        self.state[3] ^= word;
        self.round();
        self.round();
        self.state[0] ^= word;
    }

    const fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.state;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.state = [a, b, c, d];
    }

    const fn finish(mut self) -> u64 {
        let word = self.tail | (self.length << 56);
        self.mix(word);
        self.state[2] ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.round();
        let [a, b, c, d] = self.state;
        a ^ b ^ c ^ d
    }
}

#[cfg(test)]
mod tests {
    use augur_domain::value::Finite;

    use super::*;

    #[test]
    fn the_vectors_of_the_paper() {
        // Appendix A, and the first of the reference implementation: key 00 01 .. 0f, input 00 01 ..
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let of = |length: u8| {
            let mut hasher = SipHash::new(key);
            hasher.write(&(0..length).collect::<Vec<u8>>());
            hasher.finish()
        };
        assert_eq!(of(15), 0xa129_ca61_49be_45e5);
        assert_eq!(of(0), 0x726f_db47_dd0e_0e31);
        assert_eq!(of(8), 0x93f5_f579_9a93_2462);
    }

    #[test]
    fn values_of_different_types_differ_and_stay_as_they_are() {
        let number = |number| Value::Number(Finite::new(number).unwrap());
        let values = [Value::Text("1".into()), number(1.0), Value::Boolean(true), Value::Boolean(false)];
        let hashes: Vec<u64> = values.iter().map(hash).collect();
        for (index, one) in hashes.iter().enumerate() {
            assert!(!hashes[..index].contains(one));
        }
        assert_eq!(hashes, GOLDEN, "stored states depend on these");
    }

    const GOLDEN: [u64; 4] = [
        2_807_779_297_492_584_787,
        16_351_579_791_020_288_512,
        1_572_322_994_415_967_584,
        11_510_474_647_570_892_552,
    ];
}
