//! The bytes of clusters, as laid out in the format above.
//!
//! Not here: the rules that clusters must keep; they are checked once they are read.

use super::{
    Cursor, Shape, clip, definition, put_clip, put_count, put_definition, put_numbers, put_text, transform,
};
use crate::Error;
use crate::artifact::{Body, ClusterInput, MAX_CLUSTERS, MAX_INPUTS, MAX_NAME_BYTES};

pub(super) fn put(
    out: &mut Vec<u8>,
    inputs: &[ClusterInput],
    centroids: &[Vec<f64>],
    names: &[String],
    defined: bool,
) {
    put_count(out, inputs.len());
    for input in inputs {
        put_text(out, &input.feature);
        out.push(input.transform as u8);
        put_numbers(out, &[input.mean, input.scale]);
        put_clip(out, input.clip);
        put_definition(out, input.definition, defined);
    }
    put_count(out, names.len());
    for (name, centroid) in names.iter().zip(centroids) {
        put_text(out, name);
        put_numbers(out, centroid);
    }
}

pub(super) fn take(cursor: &mut Cursor<'_>, shape: Shape) -> Result<Body, Error> {
    let input = |cursor: &mut Cursor<'_>| {
        // Struct fields are evaluated in the order written, which is the order of the bytes.
        Ok(ClusterInput {
            feature: cursor.text(MAX_NAME_BYTES)?,
            transform: transform(cursor)?,
            mean: cursor.number()?,
            scale: cursor.number()?,
            clip: clip(cursor)?,
            definition: definition(cursor, shape.defined)?,
        })
    };
    let inputs = cursor.list(MAX_INPUTS, input)?;
    let cluster = |cursor: &mut Cursor<'_>| {
        let name = cursor.text(MAX_NAME_BYTES)?;
        let centroid = (0..inputs.len()).map(|_| cursor.number()).collect::<Result<Vec<f64>, _>>()?;
        Ok((name, centroid))
    };
    let (names, centroids) = cursor.list(MAX_CLUSTERS, cluster)?.into_iter().unzip();
    Ok(Body::Clusters { inputs, centroids, names })
}
