// Bytes of a file on their way while the caller computes: a thread of the call reads ahead or writes behind, over a ring of a few pieces. It makes
// system calls and nothing else: what they refuse is kept for the caller, who throws. Where the bytes are one piece, or the system has no thread to
// give, the caller moves them by itself.
#pragma once
#include <rapt/core/buffer.hpp>
#include <rapt/state/progress.hpp>
#include <state/file_io.hpp>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <vector>

namespace rapt {
inline namespace v0 {
namespace detail {

/// The pieces on the way; no bit of any file depends on them. Tests put other sizes here; nobody else writes to it.
struct stream_sizes {
  std::size_t piece_bytes = std::size_t{1} << 20;  // long enough for a system call to be nothing beside it, short enough for a second-level cache
  std::size_t num_pieces = 4;
};
RAPT_API stream_sizes& sizes_of_streams();

/// Calls a progress function about once for every piece.
class progress_report {
 public:
  /// `where` begins the message. The function may be empty.
  progress_report(const progress_function& on_progress, const std::string& where, std::uint64_t total)
      : on_progress_(on_progress), where_(where), total_(total), step_(sizes_of_streams().piece_bytes) {}
  /// Throws cancelled_error where the function says no.
  void at(std::uint64_t done) {
    if (done - said_ >= step_ && done < total_) say(done);
  }
  void at_end() { say(total_); }

 private:
  void say(std::uint64_t done);
  const progress_function& on_progress_;
  const std::string& where_;
  std::uint64_t total_, step_, said_ = 0;
};

/// 64-byte aligned; without bytes no memory.
buffer allocate_aligned(std::size_t bytes);

/// A piece of a file, in the ring's memory or elsewhere.
struct file_piece {
  std::uint64_t offset = 0;
  std::byte* data = nullptr;
  std::size_t bytes = 0;
};

/// Pieces handed from one thread to another in order; at most num_pieces are on the way.
class piece_ring {
 public:
  explicit piece_ring(std::size_t num_pieces) : pieces_(num_pieces) {}

  /// The giver: waits for a place; false where nobody wants more.
  bool wait_for_place();
  void give(const file_piece& piece);
  void end();  ///< nothing more comes
  /// The taker: waits for the next piece; nothing where no more comes.
  std::optional<file_piece> wait_for_piece();
  void done_with_piece();
  void close();  ///< nothing more is wanted, and what is on the way is not either

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<file_piece> pieces_;
  std::uint64_t given_ = 0, taken_ = 0;
  bool ended_ = false, closed_ = false;
};

/// A thread that runs one function; joined at the end.
class stream_thread {
 public:
  stream_thread() = default;
  stream_thread(const stream_thread&) = delete;
  stream_thread& operator=(const stream_thread&) = delete;
  ~stream_thread() { join(); }
  /// False where the system has none to give.
  bool start(void* (*main)(void*), void* arg) { return started_ = system().start_thread(&thread_, main, arg) == 0; }
  bool started() const { return started_; }
  void join() {
    if (started_) pthread_join(thread_, nullptr);
    started_ = false;
  }

 private:
  pthread_t thread_ = {};
  bool started_ = false;
};

/// Reads [begin, end) of a file in pieces, in order.
class read_ahead {
 public:
  /// `target`: memory for all of it; else the ring's own, where a piece is gone when the next one is asked for.
  read_ahead(const input_file& file, std::uint64_t begin, std::uint64_t end, std::byte* target = nullptr);
  ~read_ahead();
  /// Empty at the end. Throws io_error. A piece of the ring begins at a multiple of 64 in memory and behind `begin` in the file.
  std::span<const std::byte> next();

 private:
  static void* main(void* self);
  int read_piece(std::uint64_t number, file_piece& piece) const noexcept;
  const input_file& file_;
  const std::uint64_t begin_, end_;
  const std::size_t piece_bytes_, num_pieces_;
  std::byte* const target_;
  buffer memory_;
  piece_ring ring_;
  std::uint64_t next_ = 0;  // where there is no thread
  int refusal_ = 0;         // of the thread, until the ring has ended
  bool holds_piece_ = false;
  stream_thread thread_;
};

/// Where the bytes of a file go, in order.
class byte_sink {
 public:
  virtual ~byte_sink() = default;
  /// Room for the next bytes, congruent to their place in the file modulo 64; at least `wanted` where a piece is as long, else less.
  virtual std::span<std::byte> room(std::size_t wanted) = 0;
  /// So many bytes of the room have been filled.
  virtual void advance(std::size_t bytes) = 0;
  /// Bytes that stay until the end.
  virtual void lend(std::span<const std::byte> bytes) = 0;
};

/// Writes bytes of a new file from an offset on.
class write_behind final : public byte_sink {
 public:
  write_behind(const replacement& file, std::uint64_t offset, std::uint64_t bytes);
  ~write_behind() override;
  std::span<std::byte> room(std::size_t wanted) override;
  void advance(std::size_t bytes) override { filled_ += bytes; }
  void lend(std::span<const std::byte> bytes) override;
  /// Returns when all is written.
  void finish();

 private:
  static void* main(void* self);
  int write(const file_piece& piece) noexcept;
  std::byte* begin_of_piece() const;
  void send(const file_piece& piece);
  void send_filled();
  const replacement& file_;
  std::uint64_t offset_;        // of the piece being filled
  std::uint64_t flush_offset_;  // of whoever writes: the disk has begun with what lies before
  const std::size_t piece_bytes_, num_pieces_;
  buffer memory_;
  piece_ring ring_;
  std::uint64_t number_ = 0;  // of that piece
  std::size_t filled_ = 0;
  bool has_place_ = false;
  int refusal_ = 0;  // of the thread, until it has closed the ring
  stream_thread thread_;
};

}  // namespace detail
}  // namespace v0
}  // namespace rapt
