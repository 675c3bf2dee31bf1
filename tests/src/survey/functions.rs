//! Functions, types, constants and public items of a file.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Block, Expr, ExprClosure, FnArg, GenericArgument, Pat, PathArguments, ReturnType,
    Signature, Type, Visibility,
};

use super::source::{SourceFile, lines_of};

/// One function with a body, or one that a trait declares.
pub struct Function {
    /// Name without path.
    pub name: String,
    /// First line of the signature, counted from 1.
    pub line: usize,
    /// Lines from the signature to the closing brace; 0 without a body.
    pub lines: usize,
    /// Deepest nesting of `if`, `match`, loops and closures with blocks; `else if` is no deeper.
    pub nesting: usize,
    /// Trait that prescribes the name, in an implementation.
    pub of_trait: Option<String>,
    /// Set with `pub` of any reach.
    pub is_public: bool,
    /// Parameters with a tuple for a pattern: `(a, b): (u8, u8)`.
    pub tuple_parameters: usize,
    /// Set where the return type holds a tuple of two or more, also as an argument of another type.
    pub returns_tuple: bool,
}

/// One named item with its place.
pub struct Named {
    /// Name without path.
    pub name: String,
    /// Line of the name, counted from 1.
    pub line: usize,
}

/// Everything that is counted in one file.
#[derive(Default)]
pub struct Items {
    /// Functions, methods, and what traits declare.
    pub functions: Vec<Function>,
    /// Structures, enumerations, traits and aliases.
    pub types: Vec<Named>,
    /// Constants and statics.
    pub constants: Vec<Named>,
    /// Items, fields and variants with `pub` of any reach, and whether they are documented.
    pub public: Vec<(Named, bool)>,
    /// Lines with `Result<_, String>`.
    pub string_errors: Vec<usize>,
    /// Traits that are declared.
    pub trait_names: Vec<String>,
    /// `unsafe` blocks.
    pub unsafe_blocks: usize,
    /// Trait whose implementation is being read.
    within: Option<String>,
}

impl Items {
    /// Counts the items of one file.
    pub fn read(file: &SourceFile) -> Self {
        let mut items = Self::default();
        items.visit_file(&file.ast);
        items
    }

    fn add_function(&mut self, signature: &Signature, body: Option<&Block>, is_public: bool) {
        let first = lines_of(signature.span()).0;
        let mut depth = Depth::default();
        body.into_iter().for_each(|body| depth.visit_block(body));
        let tuple = |argument: &&FnArg| match argument {
            FnArg::Typed(typed) => matches!(&*typed.pat, Pat::Tuple(_)),
            FnArg::Receiver(_) => false,
        };
        self.functions.push(Function {
            name: signature.ident.to_string(),
            line: first,
            lines: body.map_or(0, |body| lines_of(body.span()).1 + 1 - first),
            nesting: depth.deepest,
            of_trait: self.within.clone(),
            is_public,
            tuple_parameters: signature.inputs.iter().filter(tuple).count(),
            returns_tuple: match &signature.output {
                ReturnType::Type(_, returned) => holds_tuple(returned),
                ReturnType::Default => false,
            },
        });
    }

    fn add_public(&mut self, visibility: &Visibility, attributes: &[Attribute], name: &syn::Ident) {
        if is_public(visibility) {
            let documented = attributes.iter().any(|attribute| attribute.path().is_ident("doc"));
            self.public.push((named(name), documented));
        }
    }
}

fn is_public(visibility: &Visibility) -> bool {
    !matches!(visibility, Visibility::Inherited)
}

fn named(name: &syn::Ident) -> Named {
    Named { name: name.to_string(), line: name.span().start().line }
}

/// A tuple of two or more, by itself or within `Option`, `Result`, `Vec` and their like.
fn holds_tuple(returned: &Type) -> bool {
    struct Search(bool);
    impl<'a> Visit<'a> for Search {
        fn visit_type_tuple(&mut self, tuple: &'a syn::TypeTuple) {
            self.0 |= tuple.elems.len() > 1;
        }
    }
    let mut search = Search(false);
    search.visit_type(returned);
    search.0
}

impl<'a> Visit<'a> for Items {
    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        let within = self.within.take();
        self.add_function(&item.sig, Some(&item.block), is_public(&item.vis));
        self.add_public(&item.vis, &item.attrs, &item.sig.ident);
        visit::visit_item_fn(self, item);
        self.within = within;
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.add_function(&item.sig, Some(&item.block), is_public(&item.vis));
        self.add_public(&item.vis, &item.attrs, &item.sig.ident);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'a syn::TraitItemFn) {
        self.add_function(&item.sig, item.default.as_ref(), true);
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'a syn::ItemImpl) {
        let name = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
        let name = name.map(|segment| segment.ident.to_string());
        let within = std::mem::replace(&mut self.within, name);
        visit::visit_item_impl(self, item);
        self.within = within;
    }

    fn visit_item_struct(&mut self, item: &'a syn::ItemStruct) {
        self.types.push(named(&item.ident));
        self.add_public(&item.vis, &item.attrs, &item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'a syn::ItemEnum) {
        self.types.push(named(&item.ident));
        self.add_public(&item.vis, &item.attrs, &item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'a syn::ItemTrait) {
        self.trait_names.push(item.ident.to_string());
        self.types.push(named(&item.ident));
        self.add_public(&item.vis, &item.attrs, &item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'a syn::ItemType) {
        self.types.push(named(&item.ident));
        self.add_public(&item.vis, &item.attrs, &item.ident);
        visit::visit_item_type(self, item);
    }

    fn visit_item_const(&mut self, item: &'a syn::ItemConst) {
        if item.ident != "_" {
            self.constants.push(named(&item.ident));
        }
        self.add_public(&item.vis, &item.attrs, &item.ident);
        visit::visit_item_const(self, item);
    }

    fn visit_item_static(&mut self, item: &'a syn::ItemStatic) {
        self.constants.push(named(&item.ident));
        self.add_public(&item.vis, &item.attrs, &item.ident);
        visit::visit_item_static(self, item);
    }

    fn visit_impl_item_const(&mut self, item: &'a syn::ImplItemConst) {
        if self.within.is_none() {
            self.constants.push(named(&item.ident));
        }
        self.add_public(&item.vis, &item.attrs, &item.ident);
        visit::visit_impl_item_const(self, item);
    }

    fn visit_field(&mut self, field: &'a syn::Field) {
        if let Some(name) = &field.ident {
            self.add_public(&field.vis, &field.attrs, name);
        }
        visit::visit_field(self, field);
    }

    fn visit_expr_unsafe(&mut self, block: &'a syn::ExprUnsafe) {
        self.unsafe_blocks += 1;
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_type_path(&mut self, path: &'a syn::TypePath) {
        if let Some(last) = path.path.segments.last()
            && last.ident == "Result"
            && let PathArguments::AngleBracketed(arguments) = &last.arguments
            && let Some(GenericArgument::Type(Type::Path(error))) = arguments.args.iter().nth(1)
            && error.path.is_ident("String")
        {
            self.string_errors.push(last.ident.span().start().line);
        }
        visit::visit_type_path(self, path);
    }
}

/// Depth of control flow within one function; functions inside it count for themselves.
#[derive(Default)]
struct Depth {
    now: usize,
    deepest: usize,
}

impl<'a> Visit<'a> for Depth {
    fn visit_item(&mut self, _: &'a syn::Item) {}

    fn visit_expr(&mut self, expr: &'a Expr) {
        let deeper = match expr {
            Expr::If(_) | Expr::Match(_) | Expr::ForLoop(_) | Expr::While(_) | Expr::Loop(_) => {
                true
            }
            Expr::Closure(ExprClosure { body, .. }) => matches!(**body, Expr::Block(_)),
            _ => false,
        };
        self.now += usize::from(deeper);
        self.deepest = self.deepest.max(self.now);
        visit::visit_expr(self, expr);
        self.now -= usize::from(deeper);
    }

    fn visit_expr_if(&mut self, branch: &'a syn::ExprIf) {
        self.visit_expr(&branch.cond);
        self.visit_block(&branch.then_branch);
        match &branch.else_branch {
            // `else if` stands beside its `if`, not within it.
            Some((_, other)) if matches!(**other, Expr::If(_)) => {
                let Expr::If(other) = &**other else { return };
                self.visit_expr_if(other);
            }
            Some((_, other)) => self.visit_expr(other),
            None => {}
        }
    }
}
