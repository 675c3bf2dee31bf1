//! Packages as parsed files: the module tree is followed from its roots, as the compiler does.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, ImplItem, Item, Lit, Meta, TraitItem};

/// Product packages: folder and library name.
pub const PACKAGES: [(&str, &str); 4] = [
    ("spa-proto", "spa_proto"),
    ("keys", "spa_keys"),
    ("spa-server", "spa_server"),
    ("spa-client", "spa_client"),
];

/// One package with the files of its library and its programs.
pub struct Package {
    /// Folder below the workspace's root.
    pub folder: String,
    /// Library name, as it stands in paths.
    pub crate_name: String,
    /// Files, parents before their children.
    pub files: Vec<SourceFile>,
}

/// One product file, parsed, without test items.
pub struct SourceFile {
    /// Path below the workspace's root.
    pub path: PathBuf,
    /// Root (`lib` or `main`) and modules below it: `["lib", "engine", "policy"]`.
    pub module: Vec<String>,
    /// Whole text, with its test items.
    pub text: String,
    /// Parsed file, without test items.
    pub ast: syn::File,
    /// Lines of test items, first and last, counted from 1.
    pub test_lines: Vec<(usize, usize)>,
}

impl SourceFile {
    /// Product lines with their numbers, counted from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line)).filter(
            |(number, _)| {
                !self.test_lines.iter().any(|(first, last)| (first..=last).contains(&number))
            },
        )
    }
}

impl Package {
    /// Reads all packages of [`PACKAGES`] below `root`.
    pub fn read_all(root: &Path) -> Vec<Self> {
        let read = |path: &Path| fs::read_to_string(root.join(path)).ok();
        PACKAGES.iter().map(|(folder, crate_name)| Self::parse(folder, crate_name, &read)).collect()
    }

    /// Parses one package. `read` returns a file's text, or `None` where there is no such file.
    pub fn parse(folder: &str, crate_name: &str, read: &dyn Fn(&Path) -> Option<String>) -> Self {
        let mut package =
            Self { folder: folder.into(), crate_name: crate_name.into(), files: vec![] };
        let src = Path::new(folder).join("src");
        for root in ["lib", "main"] {
            let path = src.join(root).with_extension("rs");
            if let Some(text) = read(&path) {
                package.add_file(path, src.clone(), vec![root.into()], text, read);
            }
        }
        assert!(!package.files.is_empty(), "no sources in {folder}");
        package
    }

    /// Parses one file and the files of the modules that it declares. `folder` is where those are.
    fn add_file(
        &mut self,
        path: PathBuf,
        folder: PathBuf,
        module: Vec<String>,
        text: String,
        read: &dyn Fn(&Path) -> Option<String>,
    ) {
        let mut ast = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut test_lines = Vec::new();
        remove_tests(&mut ast.items, &mut test_lines);
        let children = declared_files(&ast.items, &folder, &path, &module);
        self.files.push(SourceFile { path, module, text, ast, test_lines });
        for (candidates, module) in children {
            let (path, text) = candidates
                .iter()
                .find_map(|path| Some((path.clone(), read(path)?)))
                .unwrap_or_else(|| panic!("no file for {}", module.join("::")));
            let parent = path.parent().unwrap();
            let folder = match path.file_stem().unwrap().to_str().unwrap() {
                "mod" => parent.to_owned(),
                stem => parent.join(stem),
            };
            self.add_file(path, folder, module, text, read);
        }
    }
}

/// Files that `mod name;` may mean, with the module's path.
fn declared_files(
    items: &[Item],
    folder: &Path,
    declaring: &Path,
    module: &[String],
) -> Vec<(Vec<PathBuf>, Vec<String>)> {
    let mut found = Vec::new();
    for item in items {
        let Item::Mod(item) = item else { continue };
        let name = item.ident.to_string();
        let child = [module, std::slice::from_ref(&name)].concat();
        if let Some((_, inner)) = &item.content {
            found.extend(declared_files(inner, &folder.join(&name), declaring, &child));
        } else if let Some(path) = path_attribute(&item.attrs) {
            found.push((vec![declaring.parent().unwrap().join(path)], child));
        } else {
            let beside = folder.join(&name).with_extension("rs");
            found.push((vec![beside, folder.join(&name).join("mod.rs")], child));
        }
    }
    found
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// `#[cfg(test)]` and `#[cfg(all(test, …))]`.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string().replace(' ', "");
            condition == "test" || condition.starts_with("all(test,")
        }
        _ => false,
    })
}

fn remove_tests(items: &mut Vec<Item>, test_lines: &mut Vec<(usize, usize)>) {
    items.retain_mut(|item| {
        if is_test(item_attributes(item)) {
            test_lines.push(lines_of(item.span()));
            return false;
        }
        match item {
            Item::Mod(module) => {
                if let Some((_, inner)) = &mut module.content {
                    remove_tests(inner, test_lines);
                }
            }
            Item::Impl(block) => block.items.retain(|item| {
                let attributes = match item {
                    ImplItem::Const(item) => &item.attrs,
                    ImplItem::Fn(item) => &item.attrs,
                    ImplItem::Type(item) => &item.attrs,
                    _ => return true,
                };
                keep(attributes, item.span(), test_lines)
            }),
            Item::Trait(definition) => definition.items.retain(|item| {
                let TraitItem::Fn(function) = item else { return true };
                keep(&function.attrs, item.span(), test_lines)
            }),
            _ => {}
        }
        true
    });
}

fn keep(attributes: &[Attribute], span: Span, test_lines: &mut Vec<(usize, usize)>) -> bool {
    let test = is_test(attributes);
    if test {
        test_lines.push(lines_of(span));
    }
    !test
}

/// First and last line of a span, counted from 1.
pub fn lines_of(span: Span) -> (usize, usize) {
    (span.start().line, span.end().line)
}

/// The attributes of an item, doc comments included.
pub fn item_attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
