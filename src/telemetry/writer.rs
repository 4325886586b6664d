//! Takes finished lines from calls and writes them out on a thread of its own, so that no call ever waits for a disk or a pipe.
//!
//! Must not know what a line says.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::sink::{Plain, Sink};

/// Bytes that may wait for a slow sink; what comes beyond is dropped and counted.
pub const QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// How long lines gather before they are written together.
const GATHER: Duration = Duration::from_millis(5);

/// Room that is kept between two batches.
const KEPT_BYTES: usize = 128 * 1024;

/// A handle for pushing lines; clones share one queue and one thread.
#[derive(Clone)]
pub struct LineWriter {
    shared: Arc<Shared>,
}

struct Shared {
    name: Box<str>,
    queue: Mutex<Queue>,
    changed: Condvar,
    dropped: AtomicU64,
    capacity: usize,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    reopen: bool,
    closing: bool,
    written: bool,
}

impl LineWriter {
    /// Starts the thread that writes to `sink`. `name` is the thread's.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(name: &str, sink: impl Write + Send + 'static, capacity: usize) -> std::io::Result<Self> {
        LineWriter::over(name, Plain(sink), capacity)
    }

    /// The same over a sink that can be opened anew.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn over(name: &str, sink: impl Sink + 'static, capacity: usize) -> std::io::Result<Self> {
        let (name_kept, dropped) = (name.into(), AtomicU64::new(0));
        let shared = Shared { name: name_kept, queue: Mutex::default(), changed: Condvar::new(), dropped, capacity };
        let shared = Arc::new(shared);
        let writer = LineWriter { shared: Arc::clone(&shared) };
        std::thread::Builder::new().name(name.to_owned()).spawn(move || write_all(&shared, sink))?;
        Ok(writer)
    }

    /// Queues one line, its line end included. Never blocks on the sink.
    pub fn push(&self, line: &[u8]) {
        let mut queue = self.shared.lock();
        if queue.closing || queue.bytes.len() + line.len() > self.shared.capacity {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let first = queue.bytes.is_empty();
        queue.bytes.extend_from_slice(line);
        drop(queue);
        if first {
            self.shared.changed.notify_all();
        }
    }

    /// Its name, as given at the start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Opens the sink anew between two lines, before the next one is written. Does not wait for that.
    pub fn reopen(&self) {
        self.shared.lock().reopen = true;
        self.shared.changed.notify_all();
    }

    /// Lines that were lost so far: the queue was full or the sink failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Writes what is queued and ends the thread; waits for that at most `patience`. Returns whether all was written.
    pub fn close(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut queue = self.shared.lock();
        queue.closing = true;
        self.shared.changed.notify_all();
        while !queue.written {
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                return false;
            };
            queue = self.shared.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer's thread: sleeps while nothing is queued, then writes all that has gathered.
fn write_all(shared: &Shared, mut sink: impl Sink) {
    let mut batch = Vec::new();
    let mut torn = false;
    loop {
        let mut queue = shared.lock();
        while queue.bytes.is_empty() && !queue.closing && !queue.reopen {
            queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if !queue.closing && !queue.reopen {
            let (gathered, _) = shared.changed.wait_timeout(queue, GATHER).unwrap_or_else(PoisonError::into_inner);
            queue = gathered;
        }
        std::mem::swap(&mut batch, &mut queue.bytes);
        let reopen = std::mem::take(&mut queue.reopen);
        let last = queue.closing;
        drop(queue);

        if reopen {
            match sink.reopen() {
                // What was torn is in the old file.
                Ok(()) => torn = false,
                Err(error) => tracing::error!(sink = &*shared.name, %error, "cannot open it anew: the old one stays"),
            }
        }
        if torn && !batch.is_empty() {
            // After a failed write the sink may hold half a line: the next one begins on a line of its own.
            batch.insert(0, b'\n');
        }
        let written = write_batch(&mut sink, &batch);
        let (whole, lost) = batch.split_at(written);
        torn = if whole.is_empty() { torn } else { whole.last() != Some(&b'\n') };
        shared.dropped.fetch_add(memchr::memchr_iter(b'\n', lost).count() as u64, Ordering::Relaxed);
        batch.clear();
        batch.shrink_to(KEPT_BYTES);
        if last {
            shared.lock().written = true;
            shared.changed.notify_all();
            return;
        }
    }
}

/// Writes until all is written or the sink fails; how much was written.
fn write_batch(sink: &mut impl Sink, batch: &[u8]) -> usize {
    let mut written = 0;
    while let Some(rest) = batch.get(written..).filter(|rest| !rest.is_empty()) {
        match sink.write(rest) {
            Ok(0) => break,
            Ok(length) => written += length.min(rest.len()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Somebody else made the pipe one that does not block; this thread may wait all the same.
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(GATHER),
            Err(_) => break,
        }
    }
    // What is buffered on the way is no sink of records.
    let _ = sink.flush();
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    struct Collect(Arc<Mutex<Vec<u8>>>);
    impl Write for Collect {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(buf);
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A sink that is stuck until its sender is dropped, as a pipe whose reader has stopped.
    struct Stuck(mpsc::Receiver<()>);
    impl Write for Stuck {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_in_order_before_close_returns() {
        let out = Arc::new(Mutex::new(Vec::new()));
        let writer = LineWriter::start("test", Collect(Arc::clone(&out)), QUEUE_BYTES).unwrap();
        for i in 0..1_000 {
            writer.push(format!("{i}\n").as_bytes());
        }
        assert!(writer.close(Duration::from_secs(5)));
        let text = String::from_utf8(out.lock().unwrap().clone()).unwrap();
        assert_eq!(text, (0..1_000).map(|i| format!("{i}\n")).collect::<String>());
        assert_eq!(writer.dropped(), 0);
    }

    #[test]
    fn a_stuck_sink_blocks_no_call_and_what_is_lost_is_counted() {
        let (free, stuck) = mpsc::channel();
        let writer = LineWriter::start("test", Stuck(stuck), 1_000).unwrap();
        for _ in 0..100 {
            writer.push(&[b'x'; 100]);
        }
        assert!(writer.dropped() >= 100 - 20, "{}", writer.dropped());
        assert!(!writer.close(Duration::from_millis(10)));
        drop(free);
    }

    #[test]
    fn a_real_pipe_that_is_full_blocks_no_call_and_gives_all_that_was_kept_once_it_is_read() {
        let (mut read, write) = std::io::pipe().unwrap();
        let writer = LineWriter::start("test", write, 100_000).unwrap();
        // More than a pipe and the queue take.
        for number in 0..5_000 {
            writer.push(format!("{number:0100}\n").as_bytes());
        }
        let lost = writer.dropped();
        assert!(lost > 1_000, "{lost}");
        assert!(!writer.close(Duration::from_millis(10)), "it is stuck");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut read, &mut text).unwrap();
        assert!(text.lines().all(|line| line.len() == 100));
        assert_eq!(text.lines().count() as u64 + lost, 5_000);
        assert_eq!(writer.dropped(), lost);
    }

    #[test]
    fn a_pipe_whose_reader_left_loses_lines_and_counts_each() {
        let (read, write) = std::io::pipe().unwrap();
        drop(read);
        let writer = LineWriter::start("test", write, QUEUE_BYTES).unwrap();
        (0..100).for_each(|_| writer.push(b"line\n"));
        assert!(writer.close(Duration::from_secs(5)));
        assert_eq!(writer.dropped(), 100);
    }

    #[test]
    fn lines_that_were_written_whole_before_a_failure_are_not_lost() {
        struct Short(Arc<Mutex<Vec<u8>>>);
        impl Write for Short {
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                let mut out = self.0.lock().unwrap();
                let room = 12_usize.saturating_sub(out.len()).min(buf.len());
                out.extend_from_slice(&buf[..room]);
                if room == 0 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(room) }
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let out = Arc::new(Mutex::new(Vec::new()));
        let writer = LineWriter::start("test", Short(Arc::clone(&out)), QUEUE_BYTES).unwrap();
        writer.push(b"first\nsecond\nthird\n");
        assert!(writer.close(Duration::from_secs(5)));
        assert_eq!((out.lock().unwrap().as_slice(), writer.dropped()), (&b"first\nsecond"[..], 2));
    }

    #[test]
    fn a_file_is_opened_anew_between_two_lines_and_stays_open_where_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("a"), folder.path().join("b"));
        let sink = super::super::sink::FileSink::open(&path).unwrap();
        let writer = LineWriter::over("test", sink, QUEUE_BYTES).unwrap();
        let until = |path: &std::path::Path, text: &str| {
            while std::fs::read_to_string(path).unwrap_or_default() != text {
                std::thread::yield_now();
            }
        };
        writer.push(b"one\n");
        until(&path, "one\n");
        std::fs::rename(&path, &moved).unwrap();
        writer.push(b"two\n");
        until(&moved, "one\ntwo\n");
        writer.reopen();
        until(&path, "");
        writer.push(b"three\n");
        until(&path, "three\n");
        // A folder stands in its place now.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        writer.reopen();
        writer.push(b"four\n");
        assert!(writer.close(Duration::from_secs(5)));
        assert_eq!((std::fs::read_to_string(&moved).unwrap().as_str(), writer.dropped()), ("one\ntwo\n", 0));
    }

    #[test]
    fn a_failed_write_is_counted_and_the_next_line_starts_afresh() {
        struct Fails(Arc<Mutex<Vec<u8>>>, u32);
        impl Write for Fails {
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                self.1 += 1;
                match self.1 {
                    1 => {
                        self.0.lock().unwrap().extend_from_slice(&buf[..2]);
                        return Ok(2);
                    }
                    2 => return Err(std::io::Error::from(std::io::ErrorKind::StorageFull)),
                    _ => {}
                }
                self.0.lock().unwrap().extend_from_slice(buf);
                Ok(buf.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let out = Arc::new(Mutex::new(Vec::new()));
        let writer = LineWriter::start("test", Fails(Arc::clone(&out), 0), QUEUE_BYTES).unwrap();
        writer.push(b"first\n");
        while writer.dropped() == 0 {
            std::thread::yield_now();
        }
        writer.push(b"second\n");
        assert!(writer.close(Duration::from_secs(5)));
        assert_eq!(out.lock().unwrap().as_slice(), b"fi\nsecond\n");
        assert_eq!(writer.dropped(), 1);
    }
}
