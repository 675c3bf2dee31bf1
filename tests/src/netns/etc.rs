//! Files below /etc that a host has of its own, as `ip netns exec` puts them over the system's
//! (ip-netns(8)).

use std::fs;
use std::path::PathBuf;

use super::Host;

/// A file of one host; gone with this.
#[derive(Debug)]
pub struct EtcFile {
    folder: PathBuf,
    file: PathBuf,
}

impl EtcFile {
    /// Gives programs that start from now on in the host this text as `/etc/NAME`.
    pub fn new(host: &Host, name: &str, text: &str) -> EtcFile {
        let folder = PathBuf::from("/etc/netns").join(host.namespace());
        fs::create_dir_all(&folder).expect("make the folder of the host");
        let etc = EtcFile { file: folder.join(name), folder };
        etc.set(text);
        etc
    }

    /// Changes the text in place, so that programs that run see it too.
    pub fn set(&self, text: &str) {
        fs::write(&self.file, text).expect("write the host's file");
    }
}

impl Drop for EtcFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
        // Others may still be there.
        let _ = fs::remove_dir(&self.folder);
    }
}
