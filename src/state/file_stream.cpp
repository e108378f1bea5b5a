#include <state/file_stream.hpp>

#include <algorithm>
#include <cstring>
#include <new>

namespace rapt {
inline namespace v0 {
namespace detail {
namespace {

// The disk is told to begin after so many pieces: it works while the caller does, and its requests are long.
constexpr std::uint64_t pieces_to_flush = 8;
// Elements lie in memory as they lie in the file: aligned.
constexpr std::size_t alignment = 64;

std::size_t pieces_on_the_way(std::uint64_t bytes, std::size_t piece_bytes) {
  const std::uint64_t needed = bytes / piece_bytes + (bytes % piece_bytes != 0 ? 1 : 0);
  return static_cast<std::size_t>(std::clamp<std::uint64_t>(needed, 1, sizes_of_streams().num_pieces));
}
std::size_t place_bytes(std::size_t piece_bytes) { return (piece_bytes + 2 * alignment - 1) / alignment * alignment; }

}  // namespace

stream_sizes& sizes_of_streams() {
  static stream_sizes sizes;
  return sizes;
}

void progress_report::say(std::uint64_t done) {
  said_ = done;
  if (on_progress_ && !on_progress_({done, total_}))
    raise(errc::cancelled, where_ + "cancelled by on_progress after " + std::to_string(done) + " of " + std::to_string(total_) + " bytes");
}

buffer allocate_aligned(std::size_t bytes) {
  if (bytes == 0) return {};
  auto* data = static_cast<std::byte*>(::operator new(bytes, std::align_val_t(alignment)));
  return {data, bytes, [](std::byte* memory, std::size_t) { ::operator delete(memory, std::align_val_t(alignment)); }};
}

bool piece_ring::wait_for_place() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return closed_ || given_ - taken_ < pieces_.size(); });
  return !closed_;
}

void piece_ring::give(const file_piece& piece) {
  {
    const std::scoped_lock lock(mutex_);
    pieces_[given_++ % pieces_.size()] = piece;
  }
  changed_.notify_all();
}

void piece_ring::end() {
  {
    const std::scoped_lock lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
}

std::optional<file_piece> piece_ring::wait_for_piece() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return closed_ || ended_ || given_ > taken_; });
  if (closed_ || given_ == taken_) return std::nullopt;
  return pieces_[taken_ % pieces_.size()];
}

void piece_ring::done_with_piece() {
  {
    const std::scoped_lock lock(mutex_);
    ++taken_;
  }
  changed_.notify_all();
}

void piece_ring::close() {
  {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

read_ahead::read_ahead(const input_file& file, std::uint64_t begin, std::uint64_t end, std::byte* target)
    : file_(file),
      begin_(begin),
      end_(end),
      piece_bytes_(static_cast<std::size_t>(std::min<std::uint64_t>(sizes_of_streams().piece_bytes, std::max<std::uint64_t>(end - begin, 1)))),
      num_pieces_(pieces_on_the_way(end - begin, piece_bytes_)),
      target_(target),
      memory_(allocate_aligned(target != nullptr ? 0 : num_pieces_ * place_bytes(piece_bytes_))),
      ring_(num_pieces_) {
  if (num_pieces_ > 1) thread_.start(&main, this);
}

read_ahead::~read_ahead() { ring_.close(); }

int read_ahead::read_piece(std::uint64_t number, file_piece& piece) const noexcept {
  const std::uint64_t at = number * piece_bytes_, length = end_ - begin_;
  if (at >= length) return piece = {}, 0;
  std::byte* const data = target_ != nullptr ? target_ + at : memory_.data() + number % num_pieces_ * place_bytes(piece_bytes_) + at % alignment;
  piece = {begin_ + at, data, static_cast<std::size_t>(std::min<std::uint64_t>(piece_bytes_, length - at))};
  return file_.try_read(piece.offset, {piece.data, piece.bytes});
}

void* read_ahead::main(void* self) {
  auto& reader = *static_cast<read_ahead*>(self);
  for (std::uint64_t number = 0; reader.ring_.wait_for_place(); ++number) {
    file_piece piece;
    reader.refusal_ = reader.read_piece(number, piece);
    if (reader.refusal_ != 0 || piece.bytes == 0) {
      reader.ring_.end();
      break;
    }
    reader.ring_.give(piece);
  }
  return nullptr;
}

std::span<const std::byte> read_ahead::next() {
  file_piece piece;
  if (!thread_.started()) {
    if (const int refusal = read_piece(next_++, piece)) file_.fail_to_read(refusal);
    return {piece.data, piece.bytes};
  }
  if (holds_piece_) ring_.done_with_piece();
  const std::optional<file_piece> given = ring_.wait_for_piece();
  holds_piece_ = given.has_value();
  if (!given && refusal_ != 0) file_.fail_to_read(refusal_);
  return given ? std::span<const std::byte>(given->data, given->bytes) : std::span<const std::byte>();
}

write_behind::write_behind(const replacement& file, std::uint64_t offset, std::uint64_t bytes)
    : file_(file),
      offset_(offset),
      flush_offset_(offset),
      piece_bytes_(static_cast<std::size_t>(std::min<std::uint64_t>(sizes_of_streams().piece_bytes, std::max<std::uint64_t>(bytes, 1)))),
      num_pieces_(pieces_on_the_way(bytes, piece_bytes_)),
      memory_(allocate_aligned(num_pieces_ * place_bytes(piece_bytes_))),
      ring_(num_pieces_) {
  if (num_pieces_ > 1) thread_.start(&main, this);
}

write_behind::~write_behind() { ring_.close(); }

void* write_behind::main(void* self) {
  auto& writer = *static_cast<write_behind*>(self);
  while (const std::optional<file_piece> piece = writer.ring_.wait_for_piece()) {
    writer.refusal_ = writer.write(*piece);
    if (writer.refusal_ != 0) {
      writer.ring_.close();
      break;
    }
    writer.ring_.done_with_piece();
  }
  return nullptr;
}

int write_behind::write(const file_piece& piece) noexcept {
  const int refusal = file_.try_write(piece.offset, {piece.data, piece.bytes});
  const std::uint64_t written = piece.offset + piece.bytes - flush_offset_;
  if (refusal == 0 && written >= pieces_to_flush * piece_bytes_) {
    file_.start_flush(flush_offset_, written);
    flush_offset_ += written;
  }
  return refusal;
}

std::byte* write_behind::begin_of_piece() const { return memory_.data() + number_ % num_pieces_ * place_bytes(piece_bytes_) + offset_ % alignment; }

std::span<std::byte> write_behind::room(std::size_t wanted) {
  if (filled_ > 0 && piece_bytes_ - filled_ < std::min(wanted, piece_bytes_)) send_filled();
  // Before the place is written to: what lay there has to be in the file.
  if (thread_.started() && !std::exchange(has_place_, true) && !ring_.wait_for_place()) file_.fail_to_write(refusal_);
  return {begin_of_piece() + filled_, piece_bytes_ - filled_};
}

void write_behind::send(const file_piece& piece) {
  if (!thread_.started()) {
    if (const int refusal = write(piece)) file_.fail_to_write(refusal);
  } else {
    if (!std::exchange(has_place_, false) && !ring_.wait_for_place()) file_.fail_to_write(refusal_);
    ring_.give(piece);
  }
  ++number_;
  offset_ += piece.bytes;
}

void write_behind::send_filled() {
  if (filled_ > 0) send({offset_, begin_of_piece(), std::exchange(filled_, 0)});
}

void write_behind::lend(std::span<const std::byte> bytes) {
  if (bytes.size() < piece_bytes_ / 2) {
    const std::span<std::byte> to = room(bytes.size());
    std::copy(bytes.begin(), bytes.end(), to.begin());
    return advance(bytes.size());
  }
  send_filled();
  send({offset_, const_cast<std::byte*>(bytes.data()), bytes.size()});
}

void write_behind::finish() {
  send_filled();
  ring_.end();
  thread_.join();
  if (refusal_ != 0) file_.fail_to_write(refusal_);
}

}  // namespace detail
}  // namespace v0
}  // namespace rapt
