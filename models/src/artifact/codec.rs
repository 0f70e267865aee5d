//! The bytes of an artifact: little-endian, floats as their 64 bits, CRC32C at the end.
//!
//! ```text
//! magic "AUGURMDL" | format version u16 | kind u8 (1 = linear, 2 = trees, from version 3 on 3 = clusters)
//! name, task, positive class: u32 length + UTF-8 | feature set 32 bytes
//! from version 3 on flags u8 (1 = definitions are told)
//! linear: intercept f64 | input count u32, each: feature text, transform u8, mean, scale, weight, imputation,
//!     missing weight: f64, from version 3 on clip u8: 0 none | 1 low, high: f64, definition hash 32 bytes
//! trees: input count u32, each: feature text, definition hash 32 bytes
//!     base f64 | link u8 | tree count u32, each: node count u32, each: value f64,
//!     split u8: 0 leaf | 1 missing goes left | 2 missing goes right, both with input u16, threshold f64, left u32
//! clusters: input count u32, each: feature text, transform u8, mean, scale: f64, clip u8 as above, definition hash
//!     cluster count u32, each: name text, a centre f64 per input
//! calibrator u8: 0 identity | 1 Platt a, b: f64 | 2 isotonic: count u32, each margin, probability: f64
//! data hash 32 bytes | seed u64 | parameters text | created at i64 unix ms | code version text | report text
//! from version 3 on sections until the CRC, tags ascending, each: tag u8 (1 = reference), length u32, bytes
//! CRC32C u32 of all bytes before it
//! ```
//! Definition hashes are there in version 2, and from version 3 on when the flags say so.
//! An artifact is written in the lowest version that can hold it, so that one read from old bytes gives them again.
//! Not here: the rules that the content must keep ([`super::Content`]).

mod clusters;
mod reference;
mod trees;

use augur_domain::{ContentHash, Timestamp};

use super::{
    Body, Content, Input, Lineage, MAX_INPUTS, MAX_NAME_BYTES, MAX_REPORT_BYTES, Transform, TreeInput,
};
use crate::Error;
use crate::calibrate::{Calibrator, Knot, MAX_KNOTS};

const MAGIC: &[u8; 8] = b"AUGURMDL";
const VERSION: u16 = 3;
/// The last version without clip bounds and sections.
const WITHOUT_SECTIONS: u16 = 2;
/// The version that does not tell its inputs' definitions.
const WITHOUT_DEFINITIONS: u16 = 1;
const KIND_LINEAR: u8 = 1;
const KIND_TREES: u8 = 2;
const KIND_CLUSTERS: u8 = 3;
/// The flag of version 3 that says that definitions are told.
const FLAG_DEFINED: u8 = 1;
const SECTION_REFERENCE: u8 = 1;
const CRC_BYTES: usize = 4;
/// Longest section.
const MAX_SECTION_BYTES: usize = 16 * 1024 * 1024;

pub(super) fn encode(content: &Content) -> Vec<u8> {
    let mut out = Vec::with_capacity(4_096 + content.report.len());
    out.extend_from_slice(MAGIC);
    let defined = content.body.features().iter().any(|(_, definition)| definition.is_some());
    let shape = Shape { version: lowest_version(content, defined), defined };
    out.extend_from_slice(&shape.version.to_le_bytes());
    out.push(match content.body {
        Body::Linear { .. } => KIND_LINEAR,
        Body::Trees { .. } => KIND_TREES,
        Body::Clusters { .. } => KIND_CLUSTERS,
    });
    put_text(&mut out, &content.name);
    put_text(&mut out, &content.task);
    put_text(&mut out, &content.positive_class);
    out.extend_from_slice(content.feature_set.as_bytes());
    if shape.version > WITHOUT_SECTIONS {
        out.push(if defined { FLAG_DEFINED } else { 0 });
    }
    match &content.body {
        Body::Linear { intercept, inputs } => put_linear(&mut out, *intercept, inputs, shape),
        Body::Trees { inputs, ensemble } => {
            put_count(&mut out, inputs.len());
            for input in inputs {
                put_text(&mut out, &input.feature);
                put_definition(&mut out, input.definition, defined);
            }
            trees::put(&mut out, ensemble);
        }
        Body::Clusters { inputs, centroids, names } => {
            clusters::put(&mut out, inputs, centroids, names, defined);
        }
    }
    put_calibrator(&mut out, &content.calibrator);
    let lineage = &content.lineage;
    out.extend_from_slice(lineage.data.as_bytes());
    out.extend_from_slice(&lineage.seed.to_le_bytes());
    put_text(&mut out, &lineage.parameters);
    out.extend_from_slice(&lineage.created_at.unix_ms().to_le_bytes());
    put_text(&mut out, &lineage.code_version);
    put_text(&mut out, &content.report);
    if let Some(reference) = &content.reference {
        put_section(&mut out, SECTION_REFERENCE, |out| reference::put(out, reference));
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// What the bytes of inputs depend on.
#[derive(Clone, Copy)]
struct Shape {
    version: u16,
    defined: bool,
}

fn lowest_version(content: &Content, defined: bool) -> u16 {
    let inputs = content.body.linear().map_or(&[][..], |(_, inputs)| inputs);
    let clusters = matches!(content.body, Body::Clusters { .. });
    if clusters || content.reference.is_some() || inputs.iter().any(|input| input.clip.is_some()) {
        VERSION
    } else if defined {
        WITHOUT_SECTIONS
    } else {
        WITHOUT_DEFINITIONS
    }
}

fn put_section(out: &mut Vec<u8>, tag: u8, put: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    put(&mut bytes);
    out.push(tag);
    put_count(out, bytes.len());
    out.append(&mut bytes);
}

fn put_linear(out: &mut Vec<u8>, intercept: f64, inputs: &[Input], shape: Shape) {
    put_numbers(out, &[intercept]);
    put_count(out, inputs.len());
    for input in inputs {
        put_text(out, &input.feature);
        out.push(input.transform as u8);
        put_numbers(out, &[input.mean, input.scale, input.weight, input.imputation, input.missing_weight]);
        if shape.version > WITHOUT_SECTIONS {
            put_clip(out, input.clip);
        }
        put_definition(out, input.definition, shape.defined);
    }
}

fn put_clip(out: &mut Vec<u8>, clip: Option<(f64, f64)>) {
    out.push(u8::from(clip.is_some()));
    put_numbers(out, clip.map(|(low, high)| [low, high]).as_ref().map_or(&[], |clip| clip));
}

fn put_definition(out: &mut Vec<u8>, definition: Option<ContentHash>, defined: bool) {
    if defined {
        out.extend_from_slice(definition.unwrap_or_default().as_bytes());
    }
}

fn put_calibrator(out: &mut Vec<u8>, calibrator: &Calibrator) {
    match calibrator {
        Calibrator::Identity => out.push(0),
        Calibrator::Platt { a, b } => {
            out.push(1);
            put_numbers(out, &[*a, *b]);
        }
        Calibrator::Isotonic { knots } => {
            out.push(2);
            put_count(out, knots.len());
            for knot in knots {
                put_numbers(out, &[knot.margin, knot.probability]);
            }
        }
    }
}

/// Lengths are bounded far below `u32::MAX` by validation; saturating keeps this total.
fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_numbers(out: &mut Vec<u8>, numbers: &[f64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_bits().to_le_bytes());
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Content, Error> {
    let mut header = Cursor { bytes, offset: 0 };
    let magic = header.array::<8>()?;
    if &magic != MAGIC {
        return Err(malformed(0, format!("starts with {magic:02x?}"), "the magic `AUGURMDL`"));
    }
    let version = u16::from_le_bytes(header.array()?);
    if !(WITHOUT_DEFINITIONS..=VERSION).contains(&version) {
        return Err(malformed(8, format!("format version {version}"), "format version 1 to 3"));
    }
    let body_len = bytes.len().saturating_sub(CRC_BYTES);
    let body = bytes.get(..body_len).unwrap_or_default();
    let mut trailer = Cursor { bytes, offset: body_len };
    let stored = u32::from_le_bytes(trailer.array()?);
    let computed = crc32c::crc32c(body);
    if stored != computed {
        let problem = format!("checksum {stored:08x}, but the bytes give {computed:08x}");
        return Err(malformed(body_len, problem, "bytes as they were written"));
    }
    let mut cursor = Cursor { bytes: body, offset: header.offset };
    let content = content(&mut cursor, version)?;
    if cursor.offset != body.len() {
        let problem = format!("{} bytes too many", body.len() - cursor.offset);
        return Err(malformed(cursor.offset, problem, "the end"));
    }
    Ok(content)
}

fn content(cursor: &mut Cursor<'_>, version: u16) -> Result<Content, Error> {
    let kind_offset = cursor.offset;
    let [kind] = cursor.array()?;
    let mut shape = Shape { version, defined: version > WITHOUT_DEFINITIONS };
    // Struct fields are evaluated in the order written, which is the order of the bytes.
    let mut content = Content {
        name: cursor.text(MAX_NAME_BYTES)?,
        task: cursor.text(MAX_NAME_BYTES)?,
        positive_class: cursor.text(MAX_NAME_BYTES)?,
        feature_set: ContentHash::from_bytes(cursor.array()?),
        body: match (kind, shape.read_flags(cursor)?) {
            (KIND_LINEAR, ()) => Body::Linear {
                intercept: cursor.number()?,
                inputs: cursor.list(MAX_INPUTS, |cursor| input(cursor, shape))?,
            },
            (KIND_TREES, ()) => Body::Trees {
                inputs: cursor.list(MAX_INPUTS, |cursor| tree_input(cursor, shape))?,
                ensemble: trees::take(cursor)?,
            },
            (KIND_CLUSTERS, ()) if version > WITHOUT_SECTIONS => clusters::take(cursor, shape)?,
            _ => {
                let problem = format!("model kind {kind}");
                let expected = "kind 1, a linear model, 2, trees, or from version 3 on 3, clusters";
                return Err(malformed(kind_offset, problem, expected));
            }
        },
        calibrator: calibrator(cursor)?,
        lineage: Lineage {
            data: ContentHash::from_bytes(cursor.array()?),
            seed: u64::from_le_bytes(cursor.array()?),
            parameters: cursor.text(MAX_REPORT_BYTES)?,
            created_at: cursor.timestamp()?,
            code_version: cursor.text(MAX_NAME_BYTES)?,
        },
        report: cursor.text(MAX_REPORT_BYTES)?,
        reference: None,
    };
    sections(cursor, version, &mut content)?;
    Ok(content)
}

impl Shape {
    fn read_flags(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Error> {
        if self.version > WITHOUT_SECTIONS {
            let offset = cursor.offset;
            let [flags] = cursor.array()?;
            if flags & !FLAG_DEFINED != 0 {
                return Err(malformed(offset, format!("flags {flags:#04x}"), "known flags, 0 or 1"));
            }
            self.defined = flags & FLAG_DEFINED != 0;
        }
        Ok(())
    }
}

/// Whatever follows the report, each part at most once and in the order of its tags.
fn sections(cursor: &mut Cursor<'_>, version: u16, content: &mut Content) -> Result<(), Error> {
    let mut last = 0;
    while version > WITHOUT_SECTIONS && cursor.offset < cursor.bytes.len() {
        let offset = cursor.offset;
        let [tag] = cursor.array()?;
        if tag <= last {
            return Err(malformed(
                offset,
                format!("section {tag} after {last}"),
                "sections in the order of their tags",
            ));
        }
        last = tag;
        let length = cursor.count(MAX_SECTION_BYTES)?;
        let end = cursor.offset.saturating_add(length);
        match tag {
            SECTION_REFERENCE => content.reference = Some(reference::take(cursor)?),
            _ => return Err(malformed(offset, format!("section {tag}"), "a known section, 1")),
        }
        if cursor.offset != end {
            let problem = format!("section {tag} of {length} bytes ends at {}", cursor.offset);
            return Err(malformed(offset, problem, "a section that ends where its length says"));
        }
    }
    Ok(())
}

fn input(cursor: &mut Cursor<'_>, shape: Shape) -> Result<Input, Error> {
    let feature = cursor.text(MAX_NAME_BYTES)?;
    let transform = transform(cursor)?;
    let [mean, scale, weight, imputation, missing_weight] = cursor.numbers()?;
    let clip = if shape.version > WITHOUT_SECTIONS { clip(cursor)? } else { None };
    let definition = definition(cursor, shape.defined)?;
    Ok(Input { feature, transform, clip, mean, scale, weight, imputation, missing_weight, definition })
}

fn transform(cursor: &mut Cursor<'_>) -> Result<Transform, Error> {
    let offset = cursor.offset;
    let [number] = cursor.array()?;
    Transform::from_u8(number)
        .ok_or_else(|| malformed(offset, format!("transform {number}"), "a known transform, 1 or 2"))
}

fn clip(cursor: &mut Cursor<'_>) -> Result<Option<(f64, f64)>, Error> {
    let offset = cursor.offset;
    match cursor.array()? {
        [0] => Ok(None),
        [1] => Ok(Some((cursor.number()?, cursor.number()?))),
        [tag] => Err(malformed(offset, format!("clip {tag}"), "0, none, or 1, bounds")),
    }
}

fn tree_input(cursor: &mut Cursor<'_>, shape: Shape) -> Result<TreeInput, Error> {
    Ok(TreeInput { feature: cursor.text(MAX_NAME_BYTES)?, definition: definition(cursor, shape.defined)? })
}

fn definition(cursor: &mut Cursor<'_>, defined: bool) -> Result<Option<ContentHash>, Error> {
    if defined { Ok(Some(ContentHash::from_bytes(cursor.array()?))) } else { Ok(None) }
}

fn calibrator(cursor: &mut Cursor<'_>) -> Result<Calibrator, Error> {
    let offset = cursor.offset;
    let [tag] = cursor.array()?;
    match tag {
        0 => Ok(Calibrator::Identity),
        1 => Ok(Calibrator::Platt { a: cursor.number()?, b: cursor.number()? }),
        2 => {
            let knot = |c: &mut Cursor<'_>| Ok(Knot { margin: c.number()?, probability: c.number()? });
            Ok(Calibrator::Isotonic { knots: cursor.list(MAX_KNOTS, knot)? })
        }
        _ => Err(malformed(offset, format!("calibrator {tag}"), "a known calibrator, 0 to 2")),
    }
}

fn malformed(offset: usize, problem: String, expected: &'static str) -> Error {
    Error::Malformed { offset, problem, expected }
}

/// Reads forward, never past the end.
struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let taken = rest.get(..len).ok_or_else(|| {
            malformed(self.offset, format!("ends {} bytes too early", len - rest.len()), "more bytes")
        })?;
        self.offset += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn number(&mut self) -> Result<f64, Error> {
        Ok(f64::from_bits(u64::from_le_bytes(self.array()?)))
    }

    fn numbers<const N: usize>(&mut self) -> Result<[f64; N], Error> {
        let mut numbers = [0.0; N];
        for number in &mut numbers {
            *number = self.number()?;
        }
        Ok(numbers)
    }

    fn count(&mut self, limit: usize) -> Result<usize, Error> {
        let offset = self.offset;
        let count = u32::from_le_bytes(self.array()?) as usize;
        if count > limit {
            return Err(malformed(offset, format!("length {count}"), "a length within the format's bounds"));
        }
        Ok(count)
    }

    fn text(&mut self, limit_bytes: usize) -> Result<String, Error> {
        let len = self.count(limit_bytes)?;
        let offset = self.offset;
        let bytes = self.take(len)?;
        let text = std::str::from_utf8(bytes)
            .map_err(|error| malformed(offset + error.valid_up_to(), "not UTF-8".to_owned(), "UTF-8 text"))?;
        Ok(text.to_owned())
    }

    fn list<T>(
        &mut self,
        limit: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let count = self.count(limit)?;
        (0..count).map(|_| element(self)).collect()
    }

    fn timestamp(&mut self) -> Result<Timestamp, Error> {
        let offset = self.offset;
        let unix_ms = i64::from_le_bytes(self.array()?);
        let timestamp = Timestamp::from_unix_ms(unix_ms);
        if timestamp.unix_ms() != unix_ms {
            return Err(malformed(offset, format!("time {unix_ms} ms"), "a time within years 1 to 9999"));
        }
        Ok(timestamp)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Artifact;
    use super::super::clusters::tests::sample_of_clusters;
    use super::super::tests::{sample, sample_of_trees, sample_with_reference, sample_without_definitions};
    use super::*;

    /// The bytes of the sample, written when format version 1 was fixed. They must be readable for ever.
    const GOLDEN_V1: &str = include_str!("../../testdata/artifact-v1.hex");

    /// The same for trees.
    const GOLDEN_TREES: &str = include_str!("../../testdata/artifact-trees-v2.hex");

    /// The same for format version 2.
    const GOLDEN_V2: &str = include_str!("../../testdata/artifact-v2.hex");

    /// The same for clusters.
    const GOLDEN_CLUSTERS: &str = include_str!("../../testdata/artifact-clusters-v3.hex");

    /// The same for format version 3.
    const GOLDEN_V3: &str = include_str!("../../testdata/artifact-v3.hex");

    fn golden() -> Vec<u8> {
        bytes_of(GOLDEN_V3)
    }

    fn bytes_of(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn bytes_are_pinned() {
        let samples = [
            (sample_without_definitions(), GOLDEN_V1),
            (sample(), GOLDEN_V2),
            (sample_of_trees(), GOLDEN_TREES),
            (sample_of_clusters(), GOLDEN_CLUSTERS),
            (sample_with_reference(), GOLDEN_V3),
        ];
        for (content, golden) in samples {
            let artifact = Artifact::new(content).unwrap();
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            assert_eq!(hex(&artifact.encode()), hex(&bytes_of(golden)));
            let read = Artifact::decode(&bytes_of(golden)).unwrap();
            assert_eq!(read, artifact);
            assert_eq!(read.id(), ContentHash::of(&[&bytes_of(golden)]));
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let bytes = golden();
        for len in 0..bytes.len() {
            assert!(matches!(Artifact::decode(&bytes[..len]), Err(Error::Malformed { .. })), "cut at {len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Artifact::decode(&changed), Err(Error::Malformed { .. })), "bit {bit}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(Artifact::decode(&longer).is_err());
    }

    #[test]
    fn an_unknown_version_is_named() {
        let mut bytes = golden();
        bytes[8] = 4;
        let error = Artifact::decode(&bytes).unwrap_err().to_string();
        assert!(
            error.contains("format version 4") && error.contains("expected format version 1 to 3"),
            "{error}"
        );
    }

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![-1e9..1e9_f64, Just(0.0), Just(-0.0), Just(5e-324)]
    }

    fn inputs() -> impl Strategy<Value = Vec<Input>> {
        let input = (any::<bool>(), prop::array::uniform4(number()), 1e-300..1e300_f64);
        (prop::collection::vec(input, 1..20), any::<bool>()).prop_map(|(parts, defined)| {
            let each = parts.into_iter().enumerate();
            each.map(|(index, (logarithm, [mean, weight, imputation, missing_weight], scale))| Input {
                feature: format!("feature_{index}"),
                transform: if logarithm { Transform::SignedLog1p } else { Transform::Identity },
                clip: (logarithm && mean > 0.0).then_some((mean - scale, mean + scale)),
                mean,
                scale,
                weight,
                imputation,
                missing_weight,
                definition: defined.then(|| ContentHash::of(&[&index.to_le_bytes()])),
            })
            .collect()
        })
    }

    fn calibrators() -> impl Strategy<Value = Calibrator> {
        let knots = prop::collection::btree_set(-1_000_i32..1_000, 1..30).prop_map(|margins| {
            let count = margins.len() as f64;
            let knot = |(index, margin): (usize, i32)| Knot {
                margin: f64::from(margin) / 7.0,
                probability: index as f64 / count,
            };
            Calibrator::Isotonic { knots: margins.into_iter().enumerate().map(knot).collect() }
        });
        prop_oneof![
            Just(Calibrator::Identity),
            (number(), number()).prop_map(|(a, b)| Calibrator::Platt { a, b }),
            knots
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            inputs in inputs(),
            calibrator in calibrators(),
            intercept in number(),
            seed in any::<u64>(),
            positive_class in "\\PC{1,40}",
        ) {
            let mut content = Content { body: Body::Linear { intercept, inputs }, calibrator, positive_class, ..sample() };
            content.lineage.seed = seed;
            let artifact = Artifact::new(content).unwrap();
            let bytes = artifact.encode();
            let read = Artifact::decode(&bytes).unwrap();
            prop_assert_eq!(read.encode(), bytes);
            prop_assert_eq!(read.id(), artifact.id());
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..600),
            with_header in any::<bool>(),
            version in 1_u16..=3,
        ) {
            let mut bytes = bytes;
            if with_header {
                // A right header and checksum lead the decoder into the fields themselves.
                let mut framed = [MAGIC.as_slice(), &version.to_le_bytes(), &[KIND_LINEAR]].concat();
                framed.append(&mut bytes);
                let crc = crc32c::crc32c(&framed);
                framed.extend_from_slice(&crc.to_le_bytes());
                bytes = framed;
            }
            prop_assert!(Artifact::decode(&bytes).is_err());
        }

        #[test]
        fn changed_bytes_with_a_right_checksum_never_panic(
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = golden();
            let body = bytes.len() - CRC_BYTES;
            bytes[place.index(body)] = byte;
            let crc = crc32c::crc32c(&bytes[..body]);
            bytes[body..].copy_from_slice(&crc.to_le_bytes());
            if let Ok(artifact) = Artifact::decode(&bytes) {
                prop_assert_eq!(artifact.encode(), bytes);
            }
        }
    }
}
