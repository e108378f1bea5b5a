// Blocks that run side by side: a cluster, or one block alone. Private to the emulator's sources.
#pragma once
#include <kernels/simt/block.hpp>

namespace rapt {
inline namespace v0 {
namespace simt {
namespace emulator {

class block_cluster {
 public:
  block_cluster(unsigned num_blocks, index3 grid, unsigned num_threads, std::size_t shared_bytes, const std::function<void()>& body);

  /// All threads of all blocks, of which `first` is the first, from the beginning. Throws what one of them has thrown, or what is wrong with how a
  /// block ended.
  void run(index3 first);

  /// The block of this rank; null where there is none.
  block* at(unsigned rank) const { return rank < blocks_.size() ? blocks_[rank].get() : nullptr; }

  // What its blocks ask for, in the thread that runs.
  void arrive(block& of);
  void wait(block& of);
  /// Whether a meeting is over: all blocks have begun.
  bool has_met() const { return num_meetings_ > 0; }
  /// The thread to run after one of `from`, or the launching stack where all have ended, or where none ever will again.
  fibre* next(block& from);
  void fails(const std::exception_ptr& error) {
    if (!error_) error_ = error;
  }

 private:
  block* block_to_run(block& from);
  std::string deadlock_report() const;

  std::vector<std::unique_ptr<block>> blocks_;
  std::size_t num_threads_, num_arrived_ = 0;
  unsigned num_meetings_ = 0;  // that are over
  round meets_;
  fibre main_;
  std::exception_ptr error_;
  std::mt19937 random_;
};

}  // namespace emulator
}  // namespace simt
}  // namespace v0
}  // namespace rapt
