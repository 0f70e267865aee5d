//! The tree of an expression as written: spans, no types yet.
//!
//! Not here: how it is parsed (`parse`) or what it means (`check`).

/// A part of the source and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Byte offset of its first character.
    pub(crate) start: usize,
    pub(crate) kind: Kind,
}

/// What a part of the source is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Boolean(bool),
    Number(f64),
    Text(String),
    /// A dotted name.
    Path(String),
    List(Vec<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    /// `&&` over two or more terms.
    All(Vec<Node>),
    /// `||` over two or more terms.
    Any(Vec<Node>),
    Binary {
        operator: Binary,
        /// Byte offset of the operator itself.
        at: usize,
        operands: Box<[Node; 2]>,
    },
    /// `condition ? then : otherwise`.
    Choose(Box<[Node; 3]>),
    Call {
        function: String,
        arguments: Vec<Node>,
    },
}

impl Node {
    /// Moves the part as if its source began `by` bytes later.
    pub(crate) fn shift(&mut self, by: usize) {
        self.start += by;
        match &mut self.kind {
            Kind::Boolean(_) | Kind::Number(_) | Kind::Text(_) | Kind::Path(_) => {}
            Kind::Not(operand) | Kind::Negate(operand) => operand.shift(by),
            Kind::List(parts) | Kind::All(parts) | Kind::Any(parts) => {
                parts.iter_mut().for_each(|part| part.shift(by));
            }
            Kind::Call { arguments, .. } => arguments.iter_mut().for_each(|part| part.shift(by)),
            Kind::Binary { at, operands, .. } => {
                *at += by;
                operands.iter_mut().for_each(|part| part.shift(by));
            }
            Kind::Choose(parts) => parts.iter_mut().for_each(|part| part.shift(by)),
        }
    }
}

/// The operators of two operands, save `&&` and `||`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Arithmetic(Arithmetic),
    Compare(Comparison),
    In,
}

/// Operators that make a new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Operators that compare two values of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Arithmetic {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

impl Comparison {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// Whether it asks for equality only, not order.
    pub(crate) fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual)
    }

    /// The same comparison with its operands exchanged.
    pub(crate) fn flipped(self) -> Self {
        match self {
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }
}
