// What a backend is: a place where operands live and the operations on them. ops/ and attention/ reach one only through this.
#pragma once
#include <rapt/core/buffer.hpp>
#include <rapt/core/error.hpp>
#include <rapt/core/numerics.hpp>
#include <rapt/core/params.hpp>
#include <rapt/core/workspace.hpp>

#include <concepts>
#include <string_view>

namespace rapt {
inline namespace v0 {

namespace cpu {
struct backend;
class context;
}  // namespace cpu

/// Maps a context type to its backend: backend_of<cpu::context> is cpu::backend.
template <class Context>
using backend_of = typename Context::backend_type;

/// A context owns what calls need besides their operands: threads or a stream, and the workspace. Every operation takes the call's workspace; when
/// that measures, the operation only takes what it would need and does nothing else. Operations with a
/// workspace do not throw: everything has been checked before, and what can fail all the same, on a device, is kept for check().
template <class B>
concept backend = requires(typename B::context& ctx, workspace& scratch, const project_params& project, const rotate_params& rotate,
                           const append_params& append, const attend_params& attend, const merge_params& merge, const transfer_params& transfer,
                           const pack_params& pack) {
  typename B::space;
  B::project(ctx, project, scratch);
  B::rotate(ctx, rotate, scratch);
  B::append(ctx, append, scratch);
  B::attend(ctx, attend, scratch);
  B::merge(ctx, merge, scratch);
  B::export_kv(ctx, transfer);
  B::import_kv(ctx, transfer);
  B::pack(ctx, pack);
  B::unpack(ctx, pack);
  { B::allocate(ctx, std::size_t{}) } -> std::same_as<buffer>;
  B::copy(ctx, static_cast<std::byte*>(nullptr), static_cast<const std::byte*>(nullptr), std::size_t{});
  B::repeat(ctx, static_cast<std::byte*>(nullptr), static_cast<const std::byte*>(nullptr), index_t{}, index_t{}, index_t{});  // rows, bytes, times
  { ctx.begin_call(std::size_t{}) } -> std::same_as<workspace>;  // grows, or throws capacity_error naming both sizes
  { ctx.sequences(index_t{}) } -> std::same_as<sequence_rows*>;
  { ctx.numerics(attention_types{}) } -> std::same_as<std::string_view>;                       // the default
  { ctx.check_numerics("", std::string_view{}, attention_types{}) } -> std::same_as<failure>;  // who asks, id
  ctx.check();                                                                                 // throws where an operation of this call has failed
};

}  // namespace v0
}  // namespace rapt
