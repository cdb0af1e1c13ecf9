//! `ecps ltp`: frames in files, made of NumPy's arrays, turned back into them, and looked into.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use ecps_core::clock::{Steady, SystemSteady};
use ecps_core::wire::proto::{Ltp, LtpChunk};
use ecps_perception::chunks::{MaxFrame, Outgoing, split};
use ecps_perception::codec::{self, encode};
use ecps_perception::compression::{Auto, Choice, Packer};
use ecps_perception::npy;
use ecps_perception::reassembly::{Bounds, Event, Reassembler, Source};
use ecps_perception::tensor::Tensor;
use prost::Message as _;
use thiserror::Error;

use crate::delimited;
use crate::say::say;

/// Options of `ecps ltp`.
#[derive(Debug, Args)]
pub struct LtpCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make frames of a NumPy file: one LTP, or LTPChunks where it is too large, each after its length
    Encode {
        /// A .npy file
        file: PathBuf,
        /// Where to; the file's name with .ltp unless given
        #[arg(short, long)]
        output: Option<PathBuf>,
        /// none, zstd:1 to zstd:22, lz4, the last two with +shuffle, or auto
        #[arg(short, long, default_value = "zstd:3")]
        compression: String,
        /// What the link takes, for auto [bytes/s]
        #[arg(long, default_value_t = 12.5e6)]
        link_rate: f64,
        /// Largest message [bytes]
        #[arg(long, default_value_t = 1 << 20)]
        max_frame_bytes: i64,
        /// Coordinate frame
        #[arg(long, default_value = "")]
        frame_id: String,
    },
    /// Restore the NumPy file of a file of frames
    Decode {
        /// A .ltp file
        file: PathBuf,
        /// Where to; the file's name with .npy unless given
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Say what a file of frames holds
    Inspect {
        /// A .ltp file
        file: PathBuf,
    },
}

/// Why it was not done.
#[derive(Debug, Error)]
pub enum LtpError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An option that cannot be.
    #[error("{0}")]
    Option(String),
    /// A file of messages that cannot be read.
    #[error(transparent)]
    Delimited(#[from] delimited::DelimitedError),
}

/// Does what was asked.
pub fn run(options: &LtpCommand) -> Result<ExitCode, LtpError> {
    match &options.command {
        Command::Encode { file, output, compression, link_rate, max_frame_bytes, frame_id } => {
            let name = file.file_stem().map_or_else(|| "tensor".into(), |name| name.to_string_lossy());
            let content = |reason: String| LtpError::Content { path: file.clone(), reason };
            let tensor = npy::read(&read(file)?, &name).map_err(|error| content(error.to_string()))?;
            let tensor = tensor.in_frame(frame_id).map_err(|error| LtpError::Option(error.to_string()))?;
            let choice: Choice = compression.parse().map_err(|error| LtpError::Option(format!("{error}")))?;
            let compression = match choice {
                Choice::Fixed(compression) => compression,
                Choice::Auto => {
                    let width = tensor.dtype().bytes();
                    Auto::new(*link_rate).choose(tensor.data(), width, &mut Packer::default(), &SystemSteady)
                }
            };
            let max = MaxFrame::new(*max_frame_bytes).map_err(|error| LtpError::Option(error.to_string()))?;
            let frame = encode(&tensor, compression, 1).map_err(|error| content(error.to_string()))?;
            let mut bytes = Vec::new();
            match split(frame, max).map_err(|error| content(error.to_string()))? {
                Outgoing::Whole(frame) => bytes.extend(frame.encode_length_delimited_to_vec()),
                Outgoing::Chunks(chunks) => {
                    chunks.iter().for_each(|chunk| bytes.extend(chunk.encode_length_delimited_to_vec()));
                }
            }
            let output = output.clone().unwrap_or_else(|| file.with_extension("ltp"));
            write(&output, &bytes)?;
            let (from, to) = (tensor.data().len(), bytes.len());
            say!("{}: {from} bytes became {to} with {compression}", output.display());
        }
        Command::Decode { file, output } => {
            let tensor = tensor(file)?;
            let output = output.clone().unwrap_or_else(|| file.with_extension("npy"));
            write(&output, &npy::write(&tensor))?;
            say!("{}: {} {:?}", output.display(), tensor.dtype().name(), tensor.shape());
        }
        Command::Inspect { file } => {
            for (index, bytes) in delimited::messages(file)?.iter().enumerate() {
                say!("{index}: {}", describe(bytes));
            }
            let tensor = tensor(file)?;
            say!("whole: {} {:?}, {} bytes", tensor.dtype().name(), tensor.shape(), tensor.data().len());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A frame, or a chunk, in a line.
fn describe(bytes: &[u8]) -> String {
    match frame(bytes) {
        Some(frame) => {
            let header = frame.header.unwrap_or_default();
            let how = header.metadata.get("compression").map_or("zstd", String::as_str);
            format!(
                "LTP '{}' {} {:?}, {} of {} bytes ({how}, level {}), frame '{}', {} ns, attributes {:?}",
                header.metadata.get("name").map_or("", String::as_str),
                frame.dtype,
                frame.shape,
                frame.tensor_zstd.len(),
                frame.original_size,
                frame.compression_level,
                frame.frame_id,
                frame.timestamp_ns,
                frame.attributes
            )
        }
        None => match LtpChunk::decode(bytes) {
            Ok(LtpChunk { header: Some(header), chunk_data, .. }) => format!(
                "LTPChunk {} of {} of tensor {}, {} bytes, {:?}",
                header.chunk_index,
                header.total_chunks,
                header.sequence_number,
                chunk_data.len(),
                header.metadata
            ),
            _ => format!("{} bytes that are neither LTP nor LTPChunk", bytes.len()),
        },
    }
}

fn frame(bytes: &[u8]) -> Option<Ltp> {
    Ltp::decode(bytes).ok().filter(|frame| frame.spec.starts_with("ltp/"))
}

/// The tensor that a file of frames holds.
fn tensor(file: &Path) -> Result<Tensor, LtpError> {
    let content = |reason: String| LtpError::Content { path: file.to_owned(), reason };
    let source = Source { sender: "file".into(), stream: "file".into() };
    let mut reassembler = Reassembler::new(Bounds::default());
    let messages = delimited::messages(file)?;
    for (index, bytes) in messages.iter().enumerate() {
        if let Some(frame) = frame(bytes) {
            return codec::decode(frame).map_err(|error| content(format!("message {index}: {error}")));
        }
        let chunk = LtpChunk::decode(bytes.as_slice()).map_err(|error| content(format!("message {index}: {error}")))?;
        for event in reassembler.chunk(&source, chunk, Steady::default()) {
            match event {
                Event::Complete { tensor, .. } => return Ok(*tensor),
                Event::Refused(refusal) => return Err(content(format!("message {index}: {refusal}"))),
                _ => {}
            }
        }
    }
    let missing = reassembler.missing(&source).pop().map(|ack| format!("{}: {:?}", ack.message, ack.missing_chunks));
    Err(content(missing.unwrap_or_else(|| "it holds no message".to_owned())))
}

fn read(path: &Path) -> Result<Vec<u8>, LtpError> {
    let size = std::fs::metadata(path).map_err(|source| LtpError::Io { path: path.to_owned(), source })?.len();
    if size > delimited::FILE_BYTES {
        let reason = format!("it has {size} bytes, more than the {} allowed", delimited::FILE_BYTES);
        return Err(LtpError::Content { path: path.to_owned(), reason });
    }
    std::fs::read(path).map_err(|source| LtpError::Io { path: path.to_owned(), source })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), LtpError> {
    std::fs::write(path, bytes).map_err(|source| LtpError::Io { path: path.to_owned(), source })
}
