//! The part of ONNX's messages that linear and tree models use, field numbers as in `onnx.proto`.
//!
//! Unknown fields are passed over, as protocol buffers want it. Not here: what operators do (`super`).

use super::wire::{Content, Fault, Fields};
use crate::Error;

/// Most nodes of a graph.
const MAX_GRAPH_NODES: usize = 4_096;
/// Most attributes, inputs, outputs or dimensions of one thing.
const MAX_PARTS: usize = 8_192;
/// Most numbers of one attribute.
const MAX_NUMBERS: usize = 16_000_000;

#[derive(Debug, Default)]
pub(super) struct Model<'a> {
    pub(super) producer: &'a str,
    /// Version of the operators of `ai.onnx.ml`; 0 if the file does not tell.
    pub(super) operators: u64,
    pub(super) nodes: Vec<Operation<'a>>,
    pub(super) inputs: Vec<Column<'a>>,
    pub(super) outputs: Vec<&'a str>,
    pub(super) constants: Vec<&'a str>,
}

/// An input of the graph.
#[derive(Debug, Default)]
pub(super) struct Column<'a> {
    pub(super) name: &'a str,
    /// ONNX's number of the element type: 1 is `f32`, 11 `f64`, 7 `i64`, 9 boolean.
    pub(super) element: u64,
    /// Length of the last dimension, if it is fixed.
    pub(super) width: Option<u64>,
}

/// One node of the graph.
#[derive(Debug, Default)]
pub(super) struct Operation<'a> {
    /// Counted from 0.
    pub(super) index: usize,
    pub(super) name: &'a str,
    pub(super) operator: &'a str,
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    attributes: Vec<Attribute<'a>>,
}

#[derive(Debug, Default)]
struct Attribute<'a> {
    name: &'a str,
    float: Option<f32>,
    integer: Option<i64>,
    text: Option<&'a str>,
    floats: Vec<f32>,
    integers: Vec<i64>,
    texts: Vec<&'a str>,
    tensor: bool,
}

impl<'a> Model<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut model = Self::default();
        let mut graph = None;
        each(Fields::new(bytes), |number, content| {
            match (number, content) {
                (2, Content::Bytes(text)) => model.producer = utf8(text)?,
                (7, Content::Bytes(message)) => graph = Some(message),
                (8, Content::Bytes(message)) => {
                    let (mut domain, mut version) = ("", 0);
                    each(message, |number, content| {
                        match (number, content) {
                            (1, Content::Bytes(text)) => domain = utf8(text)?,
                            (2, Content::Integer(number)) => version = number,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    if domain == "ai.onnx.ml" {
                        model.operators = version;
                    }
                }
                _ => {}
            }
            Ok(())
        })
        .map_err(|fault| damaged(&fault))?;
        let graph = graph.ok_or_else(|| damaged(&Fault { offset: bytes.len(), problem: "no graph" }))?;
        model.read_graph(graph).map_err(|fault| damaged(&fault))?;
        Ok(model)
    }

    fn read_graph(&mut self, graph: Fields<'a>) -> Result<(), Fault> {
        each(graph, |number, content| {
            let Content::Bytes(message) = content else { return Ok(()) };
            match number {
                1 => {
                    let index = self.nodes.len();
                    push(&mut self.nodes, operation(message, index)?, MAX_GRAPH_NODES, message)?;
                }
                5 => push(&mut self.constants, text_field(message, 8)?, MAX_PARTS, message)?,
                11 => push(&mut self.inputs, column(message)?, MAX_PARTS, message)?,
                12 => push(&mut self.outputs, text_field(message, 1)?, MAX_PARTS, message)?,
                _ => {}
            }
            Ok(())
        })
    }
}

fn column(message: Fields<'_>) -> Result<Column<'_>, Fault> {
    let mut column = Column { name: text_field(message, 1)?, ..Column::default() };
    // ValueInfo.type, Type.tensor_type, then the element's type and the shape of dimensions.
    let Some(tensor) = message_field(message, 2)?.map(|of| message_field(of, 1)).transpose()?.flatten()
    else {
        return Ok(column);
    };
    each(tensor, |number, content| {
        match (number, content) {
            (1, Content::Integer(element)) => column.element = element,
            (2, Content::Bytes(shape)) => each(shape, |_, dimension| {
                if let Content::Bytes(dimension) = dimension {
                    column.width = None;
                    each(dimension, |number, content| {
                        if let (1, Content::Integer(length)) = (number, content) {
                            column.width = Some(length);
                        }
                        Ok(())
                    })?;
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(column)
}

fn operation(message: Fields<'_>, index: usize) -> Result<Operation<'_>, Fault> {
    let mut operation = Operation { index, ..Operation::default() };
    each(message, |number, content| {
        let Content::Bytes(part) = content else { return Ok(()) };
        match number {
            1 => push(&mut operation.inputs, utf8(part)?, MAX_PARTS, part)?,
            2 => push(&mut operation.outputs, utf8(part)?, MAX_PARTS, part)?,
            3 => operation.name = utf8(part)?,
            4 => operation.operator = utf8(part)?,
            5 => push(&mut operation.attributes, attribute(part)?, MAX_PARTS, part)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(operation)
}

fn attribute(message: Fields<'_>) -> Result<Attribute<'_>, Fault> {
    let mut attribute = Attribute::default();
    each(message, |number, content| {
        match (number, content) {
            (1, Content::Bytes(text)) => attribute.name = utf8(text)?,
            (2, Content::Fixed32(bytes)) => attribute.float = Some(f32::from_le_bytes(bytes)),
            (3, Content::Integer(number)) => attribute.integer = Some(number as i64),
            (4, Content::Bytes(text)) => attribute.text = Some(utf8(text)?),
            (5, Content::Bytes(_)) => attribute.tensor = true,
            (7, Content::Fixed32(bytes)) => {
                push(&mut attribute.floats, f32::from_le_bytes(bytes), MAX_NUMBERS, message)?;
            }
            (7, Content::Bytes(packed)) => {
                let (numbers, rest) = packed.bytes().as_chunks::<4>();
                if !rest.is_empty() || attribute.floats.len() + numbers.len() > MAX_NUMBERS {
                    return Err(Fault { offset: packed.offset(), problem: "a list of floats that is none" });
                }
                attribute.floats.extend(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            }
            (8, Content::Integer(number)) => {
                push(&mut attribute.integers, number as i64, MAX_NUMBERS, message)?
            }
            (8, Content::Bytes(mut packed)) => {
                while let Some(number) = packed.next_packed()? {
                    push(&mut attribute.integers, number as i64, MAX_NUMBERS, packed)?;
                }
            }
            (9, Content::Bytes(text)) => push(&mut attribute.texts, utf8(text)?, MAX_NUMBERS, text)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(attribute)
}

impl<'a> Operation<'a> {
    fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn floats(&self, name: &str) -> &[f32] {
        self.attribute(name).map_or(&[], |attribute| &attribute.floats)
    }

    pub(super) fn integers(&self, name: &str) -> &[i64] {
        self.attribute(name).map_or(&[], |attribute| &attribute.integers)
    }

    pub(super) fn texts(&self, name: &str) -> &[&'a str] {
        self.attribute(name).map_or(&[], |attribute| &attribute.texts)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.attribute(name).and_then(|attribute| attribute.text)
    }

    pub(super) fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name).and_then(|attribute| attribute.float)
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        self.attribute(name).and_then(|attribute| attribute.integer)
    }

    /// The first attribute that is a tensor: of the operators read here, only those in double precision have one.
    pub(super) fn tensor(&self) -> Option<&'a str> {
        self.attributes.iter().find(|attribute| attribute.tensor).map(|attribute| attribute.name)
    }

    /// A complaint about this node.
    pub(super) fn fault(&self, problem: String, expected: &str) -> Error {
        let place = if self.name.is_empty() {
            format!("node {} ({})", self.index, self.operator)
        } else {
            format!("node {} ({} `{}`)", self.index, self.operator, self.name)
        };
        Error::Foreign { format: "ONNX", place, problem, expected: expected.to_owned() }
    }
}

fn each<'a>(
    mut fields: Fields<'a>,
    mut take: impl FnMut(u64, Content<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    while let Some((number, content)) = fields.next()? {
        take(number, content)?;
    }
    Ok(())
}

fn message_field(message: Fields<'_>, wanted: u64) -> Result<Option<Fields<'_>>, Fault> {
    let mut found = None;
    each(message, |number, content| {
        if let Content::Bytes(part) = content
            && number == wanted
        {
            found = Some(part);
        }
        Ok(())
    })?;
    Ok(found)
}

fn text_field(message: Fields<'_>, wanted: u64) -> Result<&str, Fault> {
    message_field(message, wanted)?.map_or(Ok(""), utf8)
}

fn utf8(text: Fields<'_>) -> Result<&str, Fault> {
    std::str::from_utf8(text.bytes())
        .map_err(|_| Fault { offset: text.offset(), problem: "a text that is not UTF-8" })
}

fn push<T>(list: &mut Vec<T>, item: T, limit: usize, at: Fields<'_>) -> Result<(), Fault> {
    if list.len() == limit {
        return Err(Fault { offset: at.offset(), problem: "more parts than a model can have" });
    }
    list.push(item);
    Ok(())
}

fn damaged(fault: &Fault) -> Error {
    Error::Foreign {
        format: "ONNX",
        place: format!("byte {}", fault.offset),
        problem: fault.problem.to_owned(),
        expected: "a whole ONNX model (`ModelProto`), or a LightGBM model as text".to_owned(),
    }
}
