//! A small disk for the data of one instance, which can be full.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// More than what an instance's state comes to here, and soon filled.
const SIZE: &str = "256m";
const FILLER: &str = "filler";

/// A file system in memory, mounted at a folder until it is dropped.
#[derive(Debug)]
pub(crate) struct Disk {
    place: PathBuf,
}

impl Disk {
    /// Mounts one; why that cannot be done here otherwise.
    pub(crate) fn mount(place: &Path) -> Result<Disk, String> {
        std::fs::create_dir_all(place).map_err(|error| error.to_string())?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={SIZE}"), "tmpfs"])
            .arg(place)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("no mount: {error}"))?;
        if mounted.status.success() {
            return Ok(Disk {
                place: place.to_owned(),
            });
        }
        let said = String::from_utf8_lossy(&mounted.stderr);
        Err(said.trim().to_owned())
    }

    /// Leaves no room; again where some has been made since.
    pub(crate) fn fill(&self) -> io::Result<()> {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.place.join(FILLER))?;
        for size in [1 << 20, 1 << 12, 1] {
            let block = vec![0; size];
            loop {
                match file.write_all(&block) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Makes room again.
    pub(crate) fn free(&self) -> io::Result<()> {
        std::fs::remove_file(self.place.join(FILLER))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also where somebody still has a file of it open.
        let _ = Command::new("umount").arg("-l").arg(&self.place).status();
    }
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_and_has_room_again() {
        let folder = std::env::temp_dir().join(format!("clvstream-disk-{}", std::process::id()));
        match Disk::mount(&folder) {
            Err(why) => println!("SKIPPED a_disk_is_full_and_has_room_again: {why}"),
            Ok(disk) => {
                disk.fill().unwrap();
                let full = std::fs::write(folder.join("one"), [1]);
                assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
                // What there is room for is what has been written since, and is removed now.
                std::fs::remove_file(folder.join("one")).unwrap();
                disk.fill().unwrap();
                let full = std::fs::write(folder.join("two"), [1]);
                assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
                disk.free().unwrap();
                std::fs::write(folder.join("one"), [1]).unwrap();
                copy(&folder, &folder.with_extension("copy")).unwrap();
                assert_eq!(
                    std::fs::read(folder.with_extension("copy").join("one")).unwrap(),
                    [1]
                );
            }
        }
        let _ = std::fs::remove_dir_all(folder.with_extension("copy"));
        let _ = std::fs::remove_dir_all(folder);
    }
}
