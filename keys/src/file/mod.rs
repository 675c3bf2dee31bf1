//! The one place where files that a privileged process trusts are opened, and secret files written.

mod error;
mod links;
mod lock;
mod read;
mod write;

pub use error::FileError;
pub use links::{follow_trusted, open_behind};
pub use lock::FileLock;
pub use read::{
    MAX_SECRET_FILE, open_secret, open_trusted, read_opened, read_opened_bytes, read_public,
    read_public_bytes, read_secret, read_secret_up_to, read_settings,
};
pub use write::{
    create_private, is_temp_name, private_folder, remove, replace, replace_by, write_new,
};
