//! What a file is compressed with, told from its first bytes, and how much of it has been read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::rows::SourceError;

/// Bytes that are read at once.
const BUFFER: usize = 128 * 1024;

/// How much of a file has been read, in bytes as they stand on the disk. Cheap to clone; may be
/// asked from another thread.
#[derive(Clone, Debug)]
pub struct Progress {
    read: Arc<AtomicU64>,
    total: Option<u64>,
}

impl Progress {
    /// Bytes read so far.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Size of the file, if it has one (a pipe has none).
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.total
    }
}

struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// A stream of decompressed bytes.
pub(crate) type Bytes = Box<dyn BufRead + Send>;

/// Opens `path`, whatever it is compressed with.
pub(crate) fn open(path: &Path) -> Result<(Bytes, Progress), SourceError> {
    let name = path.display().to_string();
    let cannot = |error| SourceError::Open {
        file: name.clone(),
        error,
    };
    let file = File::open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if metadata.is_dir() {
        return Err(SourceError::Unsupported {
            file: name,
            what: "a folder: name the files in it",
        });
    }
    let total = metadata.is_file().then_some(metadata.len());
    decompress(&name, file, total)
}

/// `input`, whatever it is compressed with.
pub(crate) fn decompress(
    name: &str,
    input: impl Read + Send + 'static,
    total: Option<u64>,
) -> Result<(Bytes, Progress), SourceError> {
    let progress = Progress {
        read: Arc::default(),
        total,
    };
    let counted = Counted {
        inner: input,
        read: Arc::clone(&progress.read),
    };
    let mut start = BufReader::with_capacity(BUFFER, counted);
    let cannot = |error| SourceError::Read {
        file: name.to_owned(),
        row: 0,
        error,
    };
    let magic = first_bytes(&mut start).map_err(cannot)?;
    let unsupported = |what| {
        Err(SourceError::Unsupported {
            file: name.to_owned(),
            what,
        })
    };
    let bytes: Bytes = match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(BufReader::with_capacity(
            BUFFER,
            flate2::bufread::MultiGzDecoder::new(start),
        )),
        // The first is a frame's, the second that of a frame to be skipped.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let decoder = zstd::Decoder::with_buffer(start).map_err(cannot)?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => {
            return unsupported("compressed with bzip2: use gzip, zstd or none");
        }
        [0xfd, b'7', b'z', b'X', ..] => {
            return unsupported("compressed with xz: use gzip, zstd or none");
        }
        [b'P', b'K', 3, 4, ..] => {
            return unsupported("a zip archive (or a spreadsheet): unpack it, or export it as CSV");
        }
        [b'P', b'A', b'R', b'1', ..] => {
            return unsupported("Parquet: export it as CSV or JSON lines");
        }
        _ => Box::new(start),
    };
    Ok((bytes, progress))
}

/// The first four bytes (fewer where there are none), left in the reader.
fn first_bytes(reader: &mut BufReader<impl Read>) -> io::Result<Vec<u8>> {
    // One read of a regular file gives all of the four; of a pipe it may give fewer, and a file
    // that is cut so short is not taken for compressed.
    let buffer = reader.fill_buf()?;
    Ok(buffer.iter().take(4).copied().collect())
}
