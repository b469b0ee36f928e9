//! PostgreSQL's syntax tree as a plain tree of named nodes, so that whatever stands anywhere in it can be looked for without naming each of
//! the 250 kinds of node. Fields that are empty are left out.

use std::fmt;

use serde::ser::{Impossible, Serialize, SerializeSeq, SerializeStruct, Serializer};

#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    Nothing,
    Number(i64),
    Text(String),
    List(Vec<Tree>),
    Node(Node),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub name: &'static str,
    pub fields: Vec<(&'static str, Tree)>,
}

static NOTHING: Tree = Tree::Nothing;

impl Tree {
    pub fn of(message: &impl Serialize) -> Self {
        message.serialize(Planter).unwrap_or(Self::Nothing)
    }

    pub fn node(&self) -> Option<&Node> {
        match self {
            Self::Node(node) => Some(node),
            _ => None,
        }
    }

    pub fn name(&self) -> &'static str {
        self.node().map_or("", |node| node.name)
    }

    pub fn get(&self, field: &str) -> &Self {
        self.node().map_or(&NOTHING, |node| node.get(field))
    }

    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    pub fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            _ => 0,
        }
    }

    pub fn is(&self, constant: i32) -> bool {
        self.number() == i64::from(constant)
    }

    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    /// The items of a list, be it a node of that name or a repeated field.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            Self::Node(node) if node.name == "List" => node.get("items").items(),
            _ => &[],
        }
    }

    /// The last part of a name that is kept as a list of strings.
    pub fn last_name(&self) -> &str {
        self.items().last().map_or("", |part| part.get("sval").text())
    }

    pub fn children(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        match self {
            Self::List(items) => Box::new(items.iter()),
            Self::Node(node) => Box::new(node.fields.iter().map(|(_, value)| value)),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// Whether this or anything in it is so.
    pub fn any(&self, is_so: &dyn Fn(&Self) -> bool) -> bool {
        is_so(self) || self.children().any(|child| child.any(is_so))
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Number(number) => *number == 0,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Node(_) => false,
        }
    }
}

impl Node {
    pub fn get(&self, field: &str) -> &Tree {
        self.fields.iter().find(|(name, _)| *name == field).map_or(&NOTHING, |(_, value)| value)
    }
}

#[derive(Debug)]
pub struct Unexpected;

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no part of a syntax tree")
    }
}

impl std::error::Error for Unexpected {}

impl serde::ser::Error for Unexpected {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

struct Planter;

type Planted = Result<Tree, Unexpected>;

impl Serializer for Planter {
    type Ok = Tree;
    type Error = Unexpected;
    type SerializeSeq = ListPlanter;
    type SerializeStruct = Node;
    type SerializeTuple = Impossible<Tree, Unexpected>;
    type SerializeTupleStruct = Impossible<Tree, Unexpected>;
    type SerializeTupleVariant = Impossible<Tree, Unexpected>;
    type SerializeMap = Impossible<Tree, Unexpected>;
    type SerializeStructVariant = Impossible<Tree, Unexpected>;

    fn serialize_bool(self, v: bool) -> Planted {
        Ok(Tree::Number(v.into()))
    }

    fn serialize_i8(self, v: i8) -> Planted {
        Ok(Tree::Number(v.into()))
    }

    fn serialize_i16(self, v: i16) -> Planted {
        Ok(Tree::Number(v.into()))
    }

    fn serialize_i32(self, v: i32) -> Planted {
        Ok(Tree::Number(v.into()))
    }

    fn serialize_i64(self, v: i64) -> Planted {
        Ok(Tree::Number(v))
    }

    fn serialize_u8(self, v: u8) -> Planted {
        Ok(Tree::Number(v.into()))
    }

    fn serialize_u16(self, v: u16) -> Planted {
        Ok(Tree::Number(v.into()))
    }

    fn serialize_u32(self, v: u32) -> Planted {
        Ok(Tree::Number(v.into()))
    }

    fn serialize_u64(self, v: u64) -> Planted {
        Ok(Tree::Number(i64::try_from(v).unwrap_or(i64::MAX)))
    }

    fn serialize_f32(self, _: f32) -> Planted {
        Err(Unexpected)
    }

    fn serialize_f64(self, _: f64) -> Planted {
        // Only planners' estimates are such; a parser has none.
        Ok(Tree::Nothing)
    }

    fn serialize_char(self, v: char) -> Planted {
        Ok(Tree::Text(v.to_string()))
    }

    fn serialize_str(self, v: &str) -> Planted {
        Ok(Tree::Text(v.to_owned()))
    }

    fn serialize_bytes(self, _: &[u8]) -> Planted {
        Err(Unexpected)
    }

    fn serialize_none(self) -> Planted {
        Ok(Tree::Nothing)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Planted {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Planted {
        Ok(Tree::Nothing)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Planted {
        Ok(Tree::Nothing)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Planted {
        Ok(Tree::Text(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, value: &T) -> Planted {
        value.serialize(self)
    }

    /// The kind of a node is told by the struct in it.
    fn serialize_newtype_variant<T: ?Sized + Serialize>(self, _: &'static str, _: u32, _: &'static str, value: &T) -> Planted {
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<ListPlanter, Unexpected> {
        Ok(ListPlanter(Vec::with_capacity(len.unwrap_or_default())))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Unexpected> {
        Err(Unexpected)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Unexpected> {
        Err(Unexpected)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unexpected> {
        Err(Unexpected)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Unexpected> {
        Err(Unexpected)
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Node, Unexpected> {
        Ok(Node { name, fields: Vec::new() })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unexpected> {
        Err(Unexpected)
    }
}

struct ListPlanter(Vec<Tree>);

impl SerializeSeq for ListPlanter {
    type Ok = Tree;
    type Error = Unexpected;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Unexpected> {
        self.0.push(value.serialize(Planter)?);
        Ok(())
    }

    fn end(self) -> Planted {
        Ok(Tree::List(self.0))
    }
}

impl SerializeStruct for Node {
    type Ok = Tree;
    type Error = Unexpected;

    fn serialize_field<T: ?Sized + Serialize>(&mut self, key: &'static str, value: &T) -> Result<(), Unexpected> {
        // Where something stands is nobody's question here.
        if !matches!(key, "location" | "arg_location") {
            let value = value.serialize(Planter)?;
            if !value.is_empty() {
                self.fields.push((key, value));
            }
        }
        Ok(())
    }

    /// `Node` is a wrapper around what the node is.
    fn end(mut self) -> Planted {
        Ok(match self.name {
            "Node" => self.fields.pop().map_or(Tree::Nothing, |(_, value)| value),
            _ => Tree::Node(self),
        })
    }
}
