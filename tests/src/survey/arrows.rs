//! Arrows between the files of a package: who names whose items.
//!
//! An arrow leads from the file that names an item to the file of the module by which it is
//! named: `crate::engine::Id` points to `engine/mod.rs`, wherever `Id` is declared below it. A
//! module stands above its children: it may use them, and they may name what it declares, which
//! is no arrow. What a module only re-exports or imports for them is followed to its origin, so
//! `super::X` is an arrow to the sibling that declares `X`. `mod x;` and `pub use` are no arrows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Item, UseTree, Visibility};

use super::{Package, SourceFile};

/// One use of another file's item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    /// Index into [`Package::files`].
    pub from: usize,
    /// Index of the file whose item is used.
    pub to: usize,
    /// Line in the file `from`.
    pub line: usize,
    /// Path as it is written.
    pub path: String,
}

/// Name brought into a module by `use`.
struct Import {
    name: String,
    /// Path from the root on; empty where it leads out of the package.
    target: Vec<String>,
    line: usize,
    written: String,
    is_reexport: bool,
}

/// One module: a file, or an inline module within one.
#[derive(Default)]
struct Module {
    file: usize,
    imports: Vec<Import>,
}

/// Path within code, relative to the module that it stands in.
struct Mention {
    module: Vec<String>,
    segments: Vec<String>,
    line: usize,
}

/// Module tree of a package, with all that its files name.
struct Tree<'a> {
    package: &'a Package,
    modules: HashMap<Vec<String>, Module>,
}

/// All arrows of a package, sorted, one per line and target.
pub fn arrows(package: &Package) -> Vec<Arrow> {
    let mut tree = Tree { package, modules: HashMap::new() };
    let mut mentions = Vec::new();
    for (index, file) in package.files.iter().enumerate() {
        tree.add_modules(index, &file.module, &file.ast.items);
    }
    for file in &package.files {
        tree.add_imports(&file.module, &file.ast.items);
        let mut reader = Reader { module: file.module.clone(), mentions: vec![] };
        reader.visit_file(&file.ast);
        mentions.extend(reader.mentions);
    }
    let mut found = BTreeSet::new();
    for module in tree.modules.values() {
        for import in module.imports.iter().filter(|import| !import.is_reexport) {
            if let Some(to) = tree.target_file(module.file, &import.target) {
                let path = import.written.clone();
                found.insert(Arrow { from: module.file, to, line: import.line, path });
            }
        }
    }
    for mention in mentions {
        if let Some(target) = tree.absolute(&mention.module, &mention.segments)
            && let from = tree.modules[&mention.module].file
            && let Some(to) = tree.target_file(from, &target)
        {
            let path = mention.segments.join("::");
            found.insert(Arrow { from, to, line: mention.line, path });
        }
    }
    found.into_iter().collect()
}

impl Tree<'_> {
    fn add_modules(&mut self, file: usize, module: &[String], items: &[Item]) {
        self.modules.entry(module.to_vec()).or_default().file = file;
        for item in items {
            if let Item::Mod(item) = item
                && let Some((_, inner)) = &item.content
            {
                self.add_modules(file, &child(module, &item.ident), inner);
            }
        }
    }

    fn add_imports(&mut self, module: &[String], items: &[Item]) {
        for item in items {
            match item {
                Item::Use(item) => {
                    let is_reexport = !matches!(item.vis, Visibility::Inherited);
                    let mut leaves = Vec::new();
                    flatten(&item.tree, &mut Vec::new(), &mut leaves);
                    for (segments, name, line) in leaves {
                        let target = self.absolute(module, &segments).unwrap_or_default();
                        let written = segments.join("::");
                        let import = Import { name, target, line, written, is_reexport };
                        self.modules.get_mut(module).unwrap().imports.push(import);
                    }
                }
                Item::Mod(item) => {
                    if let Some((_, inner)) = &item.content {
                        self.add_imports(&child(module, &item.ident), inner);
                    }
                }
                _ => {}
            }
        }
    }

    /// Path from the root on, or `None` where it leads out of the package or to a local name.
    fn absolute(&self, module: &[String], segments: &[String]) -> Option<Vec<String>> {
        let (first, rest) = segments.split_first()?;
        let mut base = match first.as_str() {
            "crate" | "$crate" => module[..1].to_vec(),
            "self" => module.to_vec(),
            "super" => module[..module.len() - 1].to_vec(),
            name if name == self.package.crate_name => vec!["lib".into()],
            name if self.modules.contains_key(&joined(module, name)) => joined(module, name),
            name => {
                // The item of a `use`, with more behind it: `model::Rule` after `use super::model`.
                let imports = &self.modules.get(module)?.imports;
                let import = imports.iter().find(|import| import.name == name)?;
                if rest.is_empty() || import.target.is_empty() {
                    return None;
                }
                import.target.clone()
            }
        };
        for segment in rest {
            match segment.as_str() {
                "super" => drop(base.pop()),
                "self" => {}
                name => base.push(name.into()),
            }
        }
        (!base.is_empty()).then_some(base)
    }

    /// File that an arrow for an absolute path leads to, if it is one.
    fn target_file(&self, from: usize, path: &[String]) -> Option<usize> {
        let own = |to: usize| {
            let (from, to) = (&self.package.files[from], &self.package.files[to]);
            from.module.starts_with(&to.module)
        };
        let named = self.modules[self.innermost(path)?].file;
        let to = if own(named) { self.declaring_file(path, 0)? } else { named };
        (!own(to)).then_some(to)
    }

    /// Longest beginning of an absolute path that is a module.
    fn innermost<'p>(&self, path: &'p [String]) -> Option<&'p [String]> {
        (1..=path.len()).rev().map(|end| &path[..end]).find(|part| self.modules.contains_key(*part))
    }

    /// File that declares what an absolute path names, behind all re-exports.
    fn declaring_file(&self, path: &[String], hops: usize) -> Option<usize> {
        let known = self.innermost(path)?;
        let (module, rest) = (&self.modules[known], &path[known.len()..]);
        let Some((name, rest)) = rest.split_first() else { return Some(module.file) };
        let import = module.imports.iter().find(|import| import.name == *name);
        if let Some(import) = import.filter(|_| hops < 8) {
            if import.target.is_empty() {
                return None;
            }
            let target = [&import.target, rest].concat();
            return self.declaring_file(&target, hops + 1);
        }
        Some(module.file)
    }
}

fn joined(module: &[String], name: &str) -> Vec<String> {
    let mut path = module.to_vec();
    path.push(name.into());
    path
}

fn child(module: &[String], name: &syn::Ident) -> Vec<String> {
    joined(module, &name.to_string())
}

/// Leaves of a `use` tree: segments, name that they get, line.
fn flatten(
    tree: &UseTree,
    before: &mut Vec<String>,
    leaves: &mut Vec<(Vec<String>, String, usize)>,
) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, leaves);
            before.pop();
        }
        UseTree::Name(name) => {
            let (line, ident) = (name.ident.span().start().line, name.ident.to_string());
            let mut segments = before.clone();
            let bound =
                if ident == "self" { segments.last().cloned() } else { Some(ident.clone()) };
            if ident != "self" || segments.is_empty() {
                segments.push(ident);
            }
            leaves.push((segments, bound.unwrap_or_default(), line));
        }
        UseTree::Rename(rename) => {
            let mut segments = before.clone();
            if rename.ident != "self" {
                segments.push(rename.ident.to_string());
            }
            leaves.push((segments, rename.rename.to_string(), rename.ident.span().start().line));
        }
        UseTree::Glob(glob) => {
            let line = glob.star_token.spans[0].start().line;
            leaves.push((before.clone(), "*".into(), line));
        }
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| flatten(tree, before, leaves));
        }
    }
}

/// Collects the paths in code, those within macros' arguments included.
struct Reader {
    module: Vec<String>,
    mentions: Vec<Mention>,
}

fn is_colon(token: Option<TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == ':')
}

impl Reader {
    fn add(&mut self, segments: Vec<String>, line: usize) {
        if segments.len() > 1 {
            self.mentions.push(Mention { module: self.module.clone(), segments, line });
        }
    }

    fn read_tokens(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) => self.read_tokens(group.stream()),
                TokenTree::Ident(first) => {
                    let line = first.span().start().line;
                    let mut segments = vec![first.to_string()];
                    // `a::b`: an identifier follows two colons.
                    loop {
                        let mut ahead = tokens.clone();
                        if !(is_colon(ahead.next()) && is_colon(ahead.next())) {
                            break;
                        }
                        let Some(TokenTree::Ident(next)) = ahead.next() else { break };
                        segments.push(next.to_string());
                        tokens = ahead;
                    }
                    self.add(segments, line);
                }
                _ => {}
            }
        }
    }
}

impl<'a> Visit<'a> for Reader {
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, _: &'a syn::ItemUse) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if let Some(first) = path.segments.first() {
            self.add(segments, first.ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.read_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_stmt(&mut self, statement: &'a syn::Stmt) {
        // `use` within a function: a path like any other.
        if let syn::Stmt::Item(Item::Use(item)) = statement {
            let mut leaves = Vec::new();
            flatten(&item.tree, &mut Vec::new(), &mut leaves);
            leaves.into_iter().for_each(|(segments, _, line)| self.add(segments, line));
        }
        visit::visit_stmt(self, statement);
    }
}

/// Cycles: sets of nodes that reach each other, largest first.
pub fn cycles<N: Clone + Ord>(arrows: &BTreeSet<(N, N)>) -> Vec<Vec<N>> {
    let mut next: BTreeMap<&N, Vec<&N>> = BTreeMap::new();
    for (from, to) in arrows {
        next.entry(from).or_default().push(to);
    }
    let reach = |start: &N| {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&N> = next.get(start).cloned().unwrap_or_default();
        while let Some(node) = open.pop() {
            if seen.insert(node.clone()) {
                open.extend(next.get(node).into_iter().flatten());
            }
        }
        seen
    };
    let reached: BTreeMap<&N, BTreeSet<N>> = next.keys().map(|node| (*node, reach(node))).collect();
    let mut found = BTreeSet::new();
    for (node, seen) in &reached {
        let back = |other: &&N| reached.get(*other).is_some_and(|seen| seen.contains(*node));
        let circle: Vec<N> = seen.iter().filter(back).cloned().collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    found
}

/// Arrows between files, as pairs of indices.
pub fn file_pairs(arrows: &[Arrow]) -> BTreeSet<(usize, usize)> {
    arrows.iter().map(|arrow| (arrow.from, arrow.to)).collect()
}

/// Top-level module of a file; the root file itself is `lib` or `main`.
pub fn room(file: &SourceFile) -> &str {
    file.module.get(1).unwrap_or(&file.module[0])
}

/// Arrows between top-level modules. The root file belongs to none.
pub fn room_pairs(package: &Package, arrows: &[Arrow]) -> BTreeSet<(String, String)> {
    let is_module = |file: &&SourceFile| file.module.len() > 1;
    let pair = |arrow: &Arrow| {
        let (from, to) = (&package.files[arrow.from], &package.files[arrow.to]);
        [from, to].iter().all(is_module).then(|| (room(from).to_owned(), room(to).to_owned()))
    };
    arrows.iter().filter_map(pair).filter(|(from, to)| from != to).collect()
}
