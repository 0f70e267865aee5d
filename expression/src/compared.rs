//! Which texts an expression compares a slot with: for checks of policies against texts that are known elsewhere.
//!
//! Not here: texts that are known when an expression is compiled, which its names tell (`check`).

use crate::tree::{Boolean, Choice, Millis, Number, Text, Tree};
use crate::{Expression, Slot};

impl Expression {
    /// Every text that the value in `slot` is compared with, by `==`, `!=` or `in`, ascending, each once.
    pub fn texts_compared(&self, slot: Slot) -> Vec<&str> {
        let mut walk = Walk { slot, texts: Vec::new() };
        match &self.tree {
            Tree::Boolean(tree) => walk.boolean(tree),
            Tree::Number(tree) => walk.number(tree),
            Tree::Text(tree) => walk.text(tree),
            Tree::Timestamp(tree) | Tree::Duration(tree) => walk.millis(tree),
        }
        walk.texts.sort_unstable();
        walk.texts.dedup();
        walk.texts
    }
}

struct Walk<'e> {
    slot: Slot,
    texts: Vec<&'e str>,
}

impl<'e> Walk<'e> {
    fn boolean(&mut self, tree: &'e Boolean) {
        match tree {
            Boolean::Constant(_) | Boolean::Read(_) | Boolean::Present(_) | Boolean::SlotCompared { .. } => {}
            Boolean::Not(operand) => self.boolean(operand),
            Boolean::All(terms) | Boolean::Any(terms) => terms.iter().for_each(|term| self.boolean(term)),
            Boolean::NumbersCompared { operands, .. } => operands.iter().for_each(|side| self.number(side)),
            Boolean::MillisCompared { operands, .. } => operands.iter().for_each(|side| self.millis(side)),
            Boolean::BooleansEqual { operands, .. } => operands.iter().for_each(|side| self.boolean(side)),
            Boolean::TextsEqual { operands, .. } => {
                let [one, other] = &**operands;
                self.compare(one, other);
                self.compare(other, one);
                operands.iter().for_each(|side| self.text(side));
            }
            Boolean::NumberIn { value, .. } => self.number(value),
            Boolean::TextIn { value, list } => {
                if self.may_be(value) {
                    self.texts.extend(list.iter().map(|text| &**text));
                }
                self.text(value);
            }
            Boolean::Choose(choice) => self.choice(choice, Self::boolean),
        }
    }

    fn number(&mut self, tree: &'e Number) {
        match tree {
            Number::Constant(_) | Number::Read(_) => {}
            Number::Arithmetic { operands, .. } | Number::Least(operands) | Number::Greatest(operands) => {
                operands.iter().for_each(|side| self.number(side));
            }
            Number::Negate(operand) | Number::Absolute(operand) => self.number(operand),
            Number::Local { at, zone, .. } => {
                self.millis(at);
                self.text(zone);
            }
            Number::Seconds(length) => self.millis(length),
            Number::Choose(choice) => self.choice(choice, Self::number),
        }
    }

    fn text(&mut self, tree: &'e Text) {
        if let Text::Choose(choice) = tree {
            self.choice(choice, Self::text);
        }
    }

    fn millis(&mut self, tree: &'e Millis) {
        match tree {
            Millis::Constant(_) | Millis::ReadTimestamp(_) | Millis::ReadDuration(_) => {}
            Millis::Moved { operands, .. } | Millis::Length { operands, .. } => {
                operands.iter().for_each(|side| self.millis(side));
            }
            Millis::Choose(choice) => self.choice(choice, Self::millis),
        }
    }

    fn choice<T>(&mut self, choice: &'e Choice<T>, branch: fn(&mut Self, &'e T)) {
        self.boolean(&choice.condition);
        branch(self, &choice.then);
        branch(self, &choice.otherwise);
    }

    /// Notes what `other` can be if `one` can be the slot's value.
    fn compare(&mut self, one: &Text, other: &'e Text) {
        if self.may_be(one) {
            constants(other, &mut self.texts);
        }
    }

    fn may_be(&self, text: &Text) -> bool {
        match text {
            Text::Constant(_) => false,
            Text::Read(slot) => *slot == self.slot,
            Text::Choose(choice) => self.may_be(&choice.then) || self.may_be(&choice.otherwise),
        }
    }
}

fn constants<'e>(text: &'e Text, texts: &mut Vec<&'e str>) {
    match text {
        Text::Constant(text) => texts.push(text),
        Text::Read(_) => {}
        Text::Choose(choice) => {
            constants(&choice.then, texts);
            constants(&choice.otherwise, texts);
        }
    }
}
