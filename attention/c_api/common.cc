// Errors, executors, instruction sets and backends of the C interface.
#include <algorithm>
#include <new>

#include "attention/c_api/c_api.h"
#include "rowmax/try.h"

namespace rowmax::c_api {
namespace {

class CallbackExecutor final : public Executor {
 public:
  explicit CallbackExecutor(const rowmax_executor_callbacks& callbacks) noexcept : callbacks_(callbacks) {}
  int concurrency() const noexcept override { return callbacks_.concurrency; }
  void run(std::int64_t n_tasks, TaskFn fn, void* context) noexcept override {
    callbacks_.run(callbacks_.user, n_tasks, fn, context);
  }

 private:
  rowmax_executor_callbacks callbacks_;
};

}  // namespace

void copy_text(const std::string& text, char* to, std::size_t capacity) noexcept {
  if (to == nullptr || capacity == 0) return;
  const std::size_t n = std::min(text.size(), capacity - 1);
  std::memcpy(to, text.data(), n);
  to[n] = '\0';
}

rowmax_status finish(const Status& status, rowmax_error* error) noexcept {
  if (status.ok()) return ROWMAX_OK;
  const rowmax_status code = static_cast<rowmax_status>(status.error().code);
  if (error == nullptr || error->struct_size < sizeof(rowmax_error)) return code;
  error->code = code;
  copy_text(status.error().message, error->message, error->message_capacity);
  return code;
}

Result<Backend> backend_of(const rowmax_backend* in, SerialExecutor& calling_thread) {
  rowmax_backend backend = rowmax_backend_default();
  if (in != nullptr) ROWMAX_RETURN_IF_ERROR(take(in, &backend));
  if (backend.kind != ROWMAX_BACKEND_CPU) {
    return Error::unsupported("rowmax_backend.kind: expected ROWMAX_BACKEND_CPU, found " +
                              std::to_string(backend.kind));
  }
  Executor& executor =
      backend.executor == nullptr ? static_cast<Executor&>(calling_thread) : *executor_of(backend.executor);
  if (backend.isa == ROWMAX_ISA_DEFAULT) return cpu_backend(executor);
  if (rowmax_isa_name(backend.isa) == nullptr) {
    return Error::invalid_argument("rowmax_backend.isa: " + std::to_string(backend.isa) +
                                   " is the number of no instruction set");
  }
  return cpu_backend(executor, static_cast<Isa>(backend.isa));
}

}  // namespace rowmax::c_api

using namespace rowmax;
using namespace rowmax::c_api;

extern "C" {

uint32_t rowmax_abi_version(void) noexcept { return ROWMAX_ABI_VERSION; }

const char* rowmax_status_name(rowmax_status status) noexcept {
  return status == ROWMAX_OK ? "ok" : error_code_name(static_cast<ErrorCode>(status));
}

rowmax_status rowmax_thread_pool_create(int32_t n_threads, rowmax_executor** executor, rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(present(executor, "executor"));
    *executor = nullptr;
    ROWMAX_TRY(pool, make_thread_pool(n_threads));
    *executor = reinterpret_cast<rowmax_executor*>(pool.release());
    return {};
  });
}

rowmax_status rowmax_executor_create(const rowmax_executor_callbacks* callbacks, rowmax_executor** executor,
                                     rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(present(executor, "executor"));
    *executor = nullptr;
    rowmax_executor_callbacks mine;
    ROWMAX_RETURN_IF_ERROR(take(callbacks, &mine));
    ROWMAX_RETURN_IF_ERROR(present(reinterpret_cast<const void*>(mine.run), "rowmax_executor_callbacks.run"));
    if (mine.concurrency < 1 || mine.concurrency > 1024) {
      return Error::invalid_argument("concurrency: expected 1 to 1024, found " + std::to_string(mine.concurrency));
    }
    Executor* made = new (std::nothrow) CallbackExecutor(mine);
    if (made == nullptr) return Error::out_of_memory();
    *executor = reinterpret_cast<rowmax_executor*>(made);
    return {};
  });
}

void rowmax_executor_destroy(rowmax_executor* executor) noexcept { delete executor_of(executor); }

int32_t rowmax_executor_concurrency(const rowmax_executor* executor) noexcept {
  return executor == nullptr ? 1 : executor_of(executor)->concurrency();
}

rowmax_status rowmax_isa_find(const char* name, int32_t* isa, rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(present(isa, "isa"));
    ROWMAX_TRY(found, name == nullptr || *name == '\0' ? default_isa() : find_isa(name));
    *isa = static_cast<int32_t>(found);
    return {};
  });
}

const char* rowmax_isa_name(int32_t isa) noexcept {
  constexpr const char* kNames[] = {"scalar", "avx2", "avx512", "neon"};
  return isa < 0 || isa > static_cast<int32_t>(Isa::kNeon) ? nullptr : kNames[isa];
}

int32_t rowmax_supported_isas(int32_t* isas, int32_t capacity) noexcept {
  const std::span<const Isa> supported = supported_isas();
  const auto n = static_cast<int32_t>(supported.size());
  for (int32_t i = 0; i < n && i < capacity && isas != nullptr; ++i) {
    isas[i] = static_cast<int32_t>(supported[static_cast<std::size_t>(i)]);
  }
  return n;
}

rowmax_status rowmax_backend_text(const rowmax_backend* backend, char* text, size_t capacity,
                                  rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    SerialExecutor calling_thread;
    ROWMAX_RETURN_IF_ERROR(present(text, "text"));
    ROWMAX_TRY(taken, backend_of(backend, calling_thread));
    copy_text(taken.name(), text, capacity);
    return {};
  });
}

}  // extern "C"
