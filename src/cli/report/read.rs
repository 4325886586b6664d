//! Reads files in large pieces that end with whole lines, and adds them up on every core.
//!
//! Must not know what stands in a line. Holds a few pieces at a time, however large the files are.

use std::fs::File;
use std::io::{self, IsTerminal, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::By;
use super::line;
use super::sums::{Groups, Span};

/// A piece, in bytes; a line longer than this is no record.
const PIECE: usize = 1 << 20;
/// Bad lines that are told one by one.
const TOLD: usize = 5;
/// Work that takes longer than this shows how far it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is to be done with every line.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) by: &'a [By],
    pub(super) span: Span,
}

/// What all files hold.
#[derive(Default)]
pub(super) struct Whole {
    pub(super) groups: Groups,
    /// Lines that are not empty.
    pub(super) lines: u64,
    /// Those of them that are no records.
    pub(super) bad: u64,
    /// The first of these.
    faults: Vec<Fault>,
    /// Lines of every piece.
    pieces: Vec<Counted>,
}

/// A line that is no record.
struct Fault {
    piece: usize,
    /// Counted from 0 within its piece.
    line: u64,
    why: &'static str,
}

struct Counted {
    piece: usize,
    file: usize,
    lines: u64,
}

struct Piece {
    number: usize,
    file: usize,
    bytes: Vec<u8>,
}

/// A file that cannot be read.
pub(super) struct Failed {
    pub(super) path: PathBuf,
    pub(super) why: io::Error,
}

/// Reads all files.
///
/// # Errors
/// The first file that cannot be read: sums of the others would be taken for the whole.
pub(super) fn read(files: &[PathBuf], work: &Work<'_>) -> Result<Whole, Failed> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (send, receive) = sync_channel(cores * 2);
    let receive = Mutex::new(receive);
    std::thread::scope(|scope| {
        let receive = &receive;
        let adders: Vec<_> = (0..cores).map(|_| scope.spawn(|| add_up(receive, work))).collect();
        let mut pieces = Pieces { progress: Progress::new(files), number: 0 };
        let mut send = move |piece| send.send(piece).is_ok();
        let all_read = files.iter().enumerate().try_for_each(|(file, path)| {
            pieces.read(file, path, &mut send).map_err(|why| Failed { path: path.clone(), why })
        });
        pieces.progress.end();
        drop(send);
        let mut whole = Whole::default();
        for adder in adders {
            // A thread of ours that panicked has said so; its sums are lost, and so are all.
            match adder.join() {
                Ok(part) => whole.join(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        whole.pieces.sort_unstable_by_key(|counted| counted.piece);
        whole.faults.sort_unstable_by_key(|fault| (fault.piece, fault.line));
        all_read.map(|()| whole)
    })
}

/// One thread: piece after piece, until there is none.
fn add_up(pieces: &Mutex<Receiver<Piece>>, work: &Work<'_>) -> Whole {
    let mut read = Whole::default();
    loop {
        let next = pieces.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(piece) = next else { return read };
        read.add(&piece, work);
    }
}

impl Whole {
    fn add(&mut self, piece: &Piece, work: &Work<'_>) {
        let mut lines = 0;
        for line in piece.bytes.split_inclusive(|&byte| byte == b'\n') {
            let number = lines;
            lines += 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            self.lines += 1;
            match line::read(line.strip_suffix(b"\n").unwrap_or(line)) {
                Ok(record) if work.span.holds(&record.time) => self.groups.add(&record, work.by),
                Ok(_) => {}
                Err(why) => {
                    self.bad += 1;
                    if self.faults.len() < TOLD {
                        self.faults.push(Fault { piece: piece.number, line: number, why });
                    }
                }
            }
        }
        self.pieces.push(Counted { piece: piece.number, file: piece.file, lines });
    }

    fn join(&mut self, other: Whole) {
        self.groups.join(other.groups);
        self.lines += other.lines;
        self.bad += other.bad;
        self.faults.extend(other.faults);
        self.pieces.extend(other.pieces);
    }

    /// Says how many lines are no records, and where the first of them stand.
    pub(super) fn tell_faults(&self, files: &[PathBuf], err: &mut dyn Write) -> io::Result<()> {
        for fault in self.faults.iter().take(TOLD) {
            let Some(of) = self.pieces.iter().find(|counted| counted.piece == fault.piece) else { continue };
            let before = self.pieces.iter().filter(|other| other.file == of.file && other.piece < of.piece);
            let line = before.map(|other| other.lines).sum::<u64>() + fault.line + 1;
            let path = files.get(of.file).map(|path| path.display().to_string()).unwrap_or_default();
            writeln!(err, "{path}:{line}: {}", fault.why)?;
        }
        match self.bad {
            0 => Ok(()),
            bad => writeln!(err, "{bad} of {} lines are no usage records and were left out", self.lines),
        }
    }
}

/// Cuts files into pieces.
struct Pieces {
    progress: Progress,
    number: usize,
}

impl Pieces {
    fn read(&mut self, file: usize, path: &Path, send: &mut impl FnMut(Piece) -> bool) -> io::Result<()> {
        let mut source: Box<dyn io::Read> =
            if path.as_os_str() == "-" { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) };
        let mut bytes = Vec::new();
        loop {
            bytes.reserve_exact(PIECE);
            let read = read_piece(&mut source, &mut bytes)?;
            self.progress.passed(read);
            let rest = match memchr::memrchr(b'\n', &bytes) {
                Some(last) => bytes.split_off(last + 1),
                None if read == 0 => Vec::new(),
                None if bytes.len() > PIECE => {
                    // Too long for a record: its beginning stands for it.
                    bytes.truncate(64);
                    bytes.push(b'\n');
                    self.skip_line(&mut source)?
                }
                None => continue,
            };
            let bytes = std::mem::replace(&mut bytes, rest);
            let ended = read == 0;
            if !bytes.is_empty() && !send(Piece { number: self.number, file, bytes }) {
                return Ok(());
            }
            self.number += 1;
            if ended {
                return Ok(());
            }
        }
    }

    /// Passes the rest of a line; what follows it.
    fn skip_line(&mut self, source: &mut impl io::Read) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(PIECE);
        loop {
            bytes.clear();
            let read = read_piece(source, &mut bytes)?;
            self.progress.passed(read);
            match memchr::memchr(b'\n', &bytes) {
                Some(end) => return Ok(bytes.split_off(end + 1)),
                None if read == 0 => return Ok(Vec::new()),
                None => {}
            }
        }
    }
}

/// Appends at most a piece; 0 at the end.
fn read_piece(source: &mut impl io::Read, bytes: &mut Vec<u8>) -> io::Result<usize> {
    source.take(PIECE as u64).read_to_end(bytes)
}

/// A bar on standard error, where that is a terminal and the work takes long.
struct Progress {
    started: Instant,
    total: Option<u64>,
    passed: u64,
    bar: Option<ProgressBar>,
    wanted: bool,
}

impl Progress {
    fn new(files: &[PathBuf]) -> Self {
        let size = |path: &PathBuf| std::fs::metadata(path).ok().filter(|file| file.is_file()).map(|file| file.len());
        let total = files.iter().map(size).sum();
        Progress { started: Instant::now(), total, passed: 0, bar: None, wanted: io::stderr().is_terminal() }
    }

    fn passed(&mut self, bytes: usize) {
        self.passed += bytes as u64;
        if !self.wanted || self.started.elapsed() < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| shown(self.total));
        bar.set_position(self.passed);
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn shown(total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let template = if total.is_some() {
        "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left"
    } else {
        "{spinner} {bytes}, {bytes_per_sec}"
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
