/* rowmax from C: masked attention with a stable binary interface. C99, and C++ of any version; needs no other header of
 * rowmax. What the numbers mean (masks, positions, layouts, arithmetic, promises) is told in attention.h, mask.h, kv.h,
 * mask_convert.h, probe.h, softmax.h and backend.h; a field here has the name and meaning that it has there.
 *
 * Structs. Each begins with its size, which rowmax_..._default() fills in; always start from it: zero is not the
 * default of every field. A struct that is smaller than the library's (a program built with an older header) is read as
 * if the missing fields had their defaults; a larger one is refused, by name. Where an array of structs is passed, all
 * of its elements have the size of the first. Structs only grow at their end; ROWMAX_ABI_VERSION changes when something
 * else does.
 *
 * Pointers in structs belong to the caller and must live until the call returns; masks: see rowmax_plan_compile().
 * Handles (rowmax_plan, rowmax_executor ...) belong to the caller, who destroys them once; destroying NULL does
 * nothing.
 *
 * Errors. A function that can fail returns ROWMAX_OK or the code of its error, and tells more in `error`, which may be
 * NULL. There is no global state: functions may be called from any thread, and one handle from one thread at a time,
 * except where const handles are said to be shared.
 *
 * Units. Strides and counts are elements (bit words for bitmaps), sizes named _bytes are bytes, indices start at 0,
 * ends are exclusive. Angles of no kind occur; lse is a natural logarithm. */
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define ROWMAX_API __attribute__((visibility("default")))
#else
#define ROWMAX_API
#endif
#ifdef __cplusplus
#define ROWMAX_NOEXCEPT noexcept
extern "C" {
#else
#define ROWMAX_NOEXCEPT
#endif

#define ROWMAX_ABI_VERSION 1

/* The ABI version of the library that is loaded; compare with ROWMAX_ABI_VERSION. */
ROWMAX_API uint32_t rowmax_abi_version(void) ROWMAX_NOEXCEPT;

/* ---- errors ---- */

typedef int32_t rowmax_status;
enum {
  ROWMAX_OK = 0,
  ROWMAX_INVALID_ARGUMENT = 1,
  ROWMAX_OUT_OF_MEMORY = 2,
  ROWMAX_UNSUPPORTED = 3,
  ROWMAX_NUMERIC_FAULT = 7,
  ROWMAX_LIMIT = 8
};
/* "invalid_argument" and so on, "ok"; static storage. */
ROWMAX_API const char* rowmax_status_name(rowmax_status status) ROWMAX_NOEXCEPT;

/* Where a call may write one sentence about what went wrong: the caller's buffer, ended with a NUL, cut where it is too
 * short. Untouched when the call succeeds. */
typedef struct rowmax_error {
  uint32_t struct_size;
  rowmax_status code;
  char* message; /* may be NULL */
  size_t message_capacity;
} rowmax_error;

/* ---- types ---- */

enum { ROWMAX_F32 = 0, ROWMAX_F16 = 1, ROWMAX_BF16 = 2, ROWMAX_F64 = 3, ROWMAX_F8_E4M3 = 4, ROWMAX_Q8_0 = 5 };
enum { ROWMAX_HOST = 0, ROWMAX_CUDA = 1 };
enum { ROWMAX_ROW_OK = 0, ROWMAX_ROW_EMPTY = 1, ROWMAX_ROW_NON_FINITE = 2, ROWMAX_ROW_OVERFLOW = 3 };
enum { ROWMAX_EMPTY_ZERO = 0, ROWMAX_EMPTY_NAN = 1, ROWMAX_EMPTY_UNIFORM = 2 };
enum { ROWMAX_ARITHMETIC_F32 = 0, ROWMAX_ARITHMETIC_F64 = 1 };
enum { ROWMAX_CHECK_DEFAULT = 0, ROWMAX_CHECK_OFF = 1, ROWMAX_CHECK_ON = 2 };

#define ROWMAX_UNBOUNDED INT64_MAX
#define ROWMAX_KEY_TILE 64 /* the best page size */

/* Queries: [row][head][dim]. */
typedef struct rowmax_const_heads {
  uint32_t struct_size;
  int32_t dtype;
  int32_t space;
  int32_t reserved;
  const void* data;
  int64_t n_row;
  int64_t n_head;
  int64_t n_dim;
  int64_t row_stride;
  int64_t head_stride;
  int64_t dim_stride;
} rowmax_const_heads;

/* Results: the same, written. */
typedef struct rowmax_heads {
  uint32_t struct_size;
  int32_t dtype;
  int32_t space;
  int32_t reserved;
  void* data;
  int64_t n_row;
  int64_t n_head;
  int64_t n_dim;
  int64_t row_stride;
  int64_t head_stride;
  int64_t dim_stride;
} rowmax_heads;

/* Types and strides of all keys and values of a call. */
typedef struct rowmax_kv {
  uint32_t struct_size;
  int32_t dtype;
  int32_t space;
  int32_t reserved;
  int64_t n_kv_head;
  int64_t k_dim;
  int64_t v_dim;
  int64_t page_size; /* keys; 0: no pages */
  int64_t k_page_stride;
  int64_t k_key_stride;
  int64_t k_head_stride;
  int64_t k_dim_stride;
  int64_t v_page_stride;
  int64_t v_key_stride;
  int64_t v_head_stride;
  int64_t v_dim_stride;
  int64_t ring_keys;     /* 0: no ring */
  const float* k_scales; /* [n_kv_head] or NULL; ROWMAX_F8_E4M3 alone */
  const float* v_scales;
} rowmax_kv;

/* Where the keys and values of one sequence lie. */
typedef struct rowmax_kv_sequence {
  uint32_t struct_size;
  int32_t reserved;
  const void* k;
  const void* v;
  const int32_t* pages; /* page numbers or NULL */
  const void* bias;     /* or NULL */
} rowmax_kv_sequence;

/* ---- masks ---- */

typedef struct rowmax_segment_ids {
  uint32_t struct_size;
  int32_t reserved;
  const int32_t* q_ids; /* [n_q] */
  const int32_t* k_ids; /* [n_kv] */
} rowmax_segment_ids;

/* Bit (j mod 64) of words[h * head_stride + i * row_stride + j / 64]: 1 = query i of head h sees key j. */
typedef struct rowmax_bitmap {
  uint32_t struct_size;
  int32_t reserved;
  const uint64_t* words;
  int64_t row_stride;
  int64_t head_stride;
} rowmax_bitmap;

typedef struct rowmax_block_mask {
  uint32_t struct_size;
  int32_t reserved;
  const uint64_t* words;
  int64_t row_stride;
  int64_t head_stride;
  int64_t q_block;
  int64_t k_block;
} rowmax_block_mask;

typedef struct rowmax_tree {
  uint32_t struct_size;
  int32_t reserved;
  const int32_t* parents; /* [n_q] */
  int64_t first_key;      /* -1: n_kv - n_q */
} rowmax_tree;

/* Conditions that must all hold. An array holds one element for all sequences or one for each. Valid spans, segments,
 * bitmaps and blocks can be given several times (up to 4): n_..._terms lists of equal length stand one after the other.
 * A causal mask is right = 0. */
typedef struct rowmax_mask {
  uint32_t struct_size;
  int32_t reserved;
  int64_t left;         /* default ROWMAX_UNBOUNDED */
  int64_t right;        /* default ROWMAX_UNBOUNDED */
  int64_t chunk;        /* 0: none */
  int64_t keep_first;   /* 0: none */
  const int64_t* valid; /* [n_valid][2]: begin, end */
  int64_t n_valid;
  int64_t n_valid_terms; /* default 1, as those below */
  const rowmax_segment_ids* segments;
  int64_t n_segments;
  int64_t n_segment_terms;
  const rowmax_bitmap* bitmaps;
  int64_t n_bitmaps;
  int64_t n_bitmap_terms;
  const rowmax_block_mask* blocks;
  int64_t n_blocks;
  int64_t n_block_terms;
  const rowmax_tree* trees;
  int64_t n_trees;
  const int64_t* prefix_ends;
  int64_t n_prefix_ends;
} rowmax_mask;

typedef struct rowmax_sequence {
  uint32_t struct_size;
  int32_t reserved;
  int64_t q_begin; /* owns rows [q_begin, q_begin + n_q) of the call; no row may belong to two sequences */
  int64_t n_q;
  int64_t q_pos;
  int64_t n_kv;
  const int64_t* positions; /* [n_q] or NULL */
  int64_t anchor;           /* default -1: the first valid key */
} rowmax_sequence;

typedef struct rowmax_geometry {
  uint32_t struct_size;
  int32_t n_head;
  int32_t n_kv_head;
  int32_t reserved;
  const rowmax_sequence* sequences;
  int64_t n_sequences;
} rowmax_geometry;

/* Counts over all heads; tiles are one query by ROWMAX_KEY_TILE keys. */
typedef struct rowmax_mask_stats {
  uint32_t struct_size;
  int32_t reserved;
  int64_t visible_pairs;
  int64_t empty_rows;
  int64_t full_tiles;
  int64_t partial_tiles;
  int64_t empty_tiles;
} rowmax_mask_stats;

/* A compiled mask. Functions with a const plan may run in several threads at the same time. */
typedef struct rowmax_plan rowmax_plan;

/* An empty plan, or ROWMAX_OUT_OF_MEMORY. */
ROWMAX_API rowmax_status rowmax_plan_create(rowmax_plan** plan, rowmax_error* error) ROWMAX_NOEXCEPT;
ROWMAX_API void rowmax_plan_destroy(rowmax_plan* plan) ROWMAX_NOEXCEPT;
/* Compiles into a plan that may hold another one; after an error it is empty. Everything is copied but the words of
 * bitmaps and blocks, which must live, unchanged, as long as the plan is used. */
ROWMAX_API rowmax_status rowmax_plan_compile(rowmax_plan* plan, const rowmax_mask* mask,
                                             const rowmax_geometry* geometry, rowmax_error* error) ROWMAX_NOEXCEPT;
/* The plan of the next step of decoding: n more keys, queries n positions further. ROWMAX_UNSUPPORTED, and an unchanged
 * plan, where the mask is more than spans. */
ROWMAX_API rowmax_status rowmax_plan_advance(rowmax_plan* plan, int64_t n, rowmax_error* error) ROWMAX_NOEXCEPT;
ROWMAX_API int64_t rowmax_plan_n_sequences(const rowmax_plan* plan) ROWMAX_NOEXCEPT;
/* 1 where query i of sequence s, query head h, sees key j, else 0; 0 for indices outside the shapes. */
ROWMAX_API int32_t rowmax_plan_visible(const rowmax_plan* plan, int64_t s, int64_t h, int64_t i,
                                       int64_t j) ROWMAX_NOEXCEPT;
ROWMAX_API rowmax_status rowmax_plan_stats(const rowmax_plan* plan, rowmax_mask_stats* stats,
                                           rowmax_error* error) ROWMAX_NOEXCEPT;
/* "causal", "sliding_window" ... (mask.h, MaskKind); static storage; NULL for a sequence that the plan does not have.
 */
ROWMAX_API const char* rowmax_plan_kind(const rowmax_plan* plan, int64_t s) ROWMAX_NOEXCEPT;
/* Why the pair is hidden: *hidden_by gets the bits of mask.h's MaskRule (0: visible; may be NULL) and text, if not
 * NULL, one line that is cut to `capacity` bytes, NUL included. */
ROWMAX_API rowmax_status rowmax_plan_explain(const rowmax_plan* plan, int64_t s, int64_t h, int64_t i, int64_t j,
                                             uint32_t* hidden_by, char* text, size_t capacity,
                                             rowmax_error* error) ROWMAX_NOEXCEPT;
/* The mask of a sequence and head as bits: n_q rows of row_words words, row_words >= ceil(n_kv / 64), n_words in all.
 */
ROWMAX_API rowmax_status rowmax_plan_materialise(const rowmax_plan* plan, int64_t s, int64_t h, uint64_t* words,
                                                 int64_t n_words, int64_t row_words,
                                                 rowmax_error* error) ROWMAX_NOEXCEPT;

/* Compiled plans by content, at most `capacity` of them; the least recently used goes. Bitmap and block words are
 * compared by address and strides alone: clear after changing them in place. */
typedef struct rowmax_plan_cache rowmax_plan_cache;
ROWMAX_API rowmax_status rowmax_plan_cache_create(int64_t capacity, rowmax_plan_cache** cache,
                                                  rowmax_error* error) ROWMAX_NOEXCEPT;
ROWMAX_API void rowmax_plan_cache_destroy(rowmax_plan_cache* cache) ROWMAX_NOEXCEPT;
/* The plan belongs to the cache and is valid until its next get, clear or destroy. */
ROWMAX_API rowmax_status rowmax_plan_cache_get(rowmax_plan_cache* cache, const rowmax_mask* mask,
                                               const rowmax_geometry* geometry, const rowmax_plan** plan,
                                               rowmax_error* error) ROWMAX_NOEXCEPT;
ROWMAX_API void rowmax_plan_cache_clear(rowmax_plan_cache* cache) ROWMAX_NOEXCEPT;
ROWMAX_API int64_t rowmax_plan_cache_n_hits(const rowmax_plan_cache* cache) ROWMAX_NOEXCEPT;

/* ---- masks of other frameworks ---- */

enum { ROWMAX_FILL_MINUS_INFINITY = 0, ROWMAX_FILL_LOWEST_FINITE = 1 };
/* Writes 0 where visible and the fill value elsewhere: element (i, j) at out + i * row_stride + j * key_stride, of type
 * f32, f16, bf16 or f64. */
ROWMAX_API rowmax_status rowmax_to_additive(const rowmax_plan* plan, int64_t s, int64_t h, int32_t dtype, int32_t fill,
                                            void* out, int64_t row_stride, int64_t key_stride,
                                            rowmax_error* error) ROWMAX_NOEXCEPT;

/* One matrix of pairs: element (i, j) at data + i * row_stride + j * key_stride. */
typedef struct rowmax_dense_view {
  uint32_t struct_size;
  int32_t dtype; /* of additive masks; keep masks are bytes, not 0 = keep */
  const void* data;
  int64_t n_q;
  int64_t n_kv;
  int64_t row_stride;
  int64_t key_stride; /* default 1 */
} rowmax_dense_view;

/* What a dense mask turned out to be (mask_convert.h, DetectedMask and AdditiveMask). The names are static storage. */
typedef struct rowmax_dense_info {
  uint32_t struct_size;
  int32_t has_bias; /* visible pairs with other numbers than 0: pass the tensor as bias as well */
  const char* kind;
  const char* sentinel;
  double sentinel_value;
  int64_t n_q;
  int64_t n_kv;
  int64_t valid_begin;
  int64_t valid_end;
  int64_t q_pos;
  int64_t left;
  int64_t right;
  int64_t n_hidden;
  int64_t n_empty_rows;
} rowmax_dense_info;

#define ROWMAX_ADDITIVE_THRESHOLD (-9000.0) /* numbers at or below it are meant to hide */

/* A dense mask as bits, which it owns. */
typedef struct rowmax_dense_mask rowmax_dense_mask;
ROWMAX_API rowmax_status rowmax_from_keep(const rowmax_dense_view* view, rowmax_dense_mask** mask,
                                          rowmax_error* error) ROWMAX_NOEXCEPT;
/* ROWMAX_NUMERIC_FAULT for NaN and +inf. */
ROWMAX_API rowmax_status rowmax_from_additive(const rowmax_dense_view* view, double threshold, rowmax_dense_mask** mask,
                                              rowmax_error* error) ROWMAX_NOEXCEPT;
ROWMAX_API void rowmax_dense_mask_destroy(rowmax_dense_mask* mask) ROWMAX_NOEXCEPT;
/* info, text: what is not wanted is NULL; the text, one line, is cut to `capacity` bytes, NUL included. */
ROWMAX_API rowmax_status rowmax_dense_mask_describe(const rowmax_dense_mask* mask, rowmax_dense_info* info, char* text,
                                                    size_t capacity, rowmax_error* error) ROWMAX_NOEXCEPT;
/* The bits, for rowmax_mask.bitmaps; they live as long as the dense mask. */
ROWMAX_API rowmax_status rowmax_dense_mask_bitmap(const rowmax_dense_mask* mask, rowmax_bitmap* bitmap,
                                                  rowmax_error* error) ROWMAX_NOEXCEPT;

enum { ROWMAX_SIDE_NONE = 0, ROWMAX_SIDE_LEFT = 1, ROWMAX_SIDE_RIGHT = 2, ROWMAX_SIDE_BOTH = 3, ROWMAX_SIDE_HOLES = 4 };
/* The [n_batch][n_kv] keep mask of a tokenizer (0 = padding), element (b, j) at tokens + b * row_stride + j: spans
 * [n_batch][2], from the first token to the last, for rowmax_mask.valid, and sides [n_batch]. An entry with holes needs
 * its bits as well (rowmax_from_keep() with row_stride 0). */
ROWMAX_API rowmax_status rowmax_from_keep_mask(const uint8_t* tokens, int64_t n_batch, int64_t n_kv, int64_t row_stride,
                                               int64_t* spans, int32_t* sides, rowmax_error* error) ROWMAX_NOEXCEPT;

/* ---- who computes ---- */

/* fn(context, task, worker) computes one task; call it once for every task in [0, n_tasks), with worker in
 * [0, concurrency) and distinct for tasks that run at the same time, and return when all are done. */
typedef void (*rowmax_task_fn)(void* context, int64_t task, int32_t worker);
typedef struct rowmax_executor_callbacks {
  uint32_t struct_size;
  int32_t concurrency; /* the most tasks at the same time, 1 to 1024 */
  void (*run)(void* user, int64_t n_tasks, rowmax_task_fn fn, void* context);
  void* user;
} rowmax_executor_callbacks;

typedef struct rowmax_executor rowmax_executor;

/* rowmax's own pool; n_threads includes the calling thread, 0: all physical cores. ROWMAX_LIMIT outside 0..1024. */
ROWMAX_API rowmax_status rowmax_thread_pool_create(int32_t n_threads, rowmax_executor** executor,
                                                   rowmax_error* error) ROWMAX_NOEXCEPT;
/* The caller's pool. The callbacks are copied; `user` must live as long as the executor. */
ROWMAX_API rowmax_status rowmax_executor_create(const rowmax_executor_callbacks* callbacks, rowmax_executor** executor,
                                                rowmax_error* error) ROWMAX_NOEXCEPT;
ROWMAX_API void rowmax_executor_destroy(rowmax_executor* executor) ROWMAX_NOEXCEPT;
ROWMAX_API int32_t rowmax_executor_concurrency(const rowmax_executor* executor) ROWMAX_NOEXCEPT;

/* Instruction sets by name: "scalar", "avx2", "avx512", "neon"; NULL or "": the fastest that this machine can run (or
 * what the environment variable ROWMAX_ISA names). All give the same bits. */
ROWMAX_API rowmax_status rowmax_isa_find(const char* name, int32_t* isa, rowmax_error* error) ROWMAX_NOEXCEPT;
/* NULL for a number that no instruction set has; static storage. */
ROWMAX_API const char* rowmax_isa_name(int32_t isa) ROWMAX_NOEXCEPT;
/* How many this machine can run, slowest first; the first `capacity` of them are written to isas. */
ROWMAX_API int32_t rowmax_supported_isas(int32_t* isas, int32_t capacity) ROWMAX_NOEXCEPT;

/* Where a call runs (backend.h). NULL in place of one is the same as rowmax_backend_default(): the calling thread and the
 * default instruction set. ROWMAX_UNSUPPORTED for an instruction set that this machine cannot run. The executor is used
 * by one call at a time and must live until the call returns. */
enum { ROWMAX_BACKEND_CPU = 0 };
enum { ROWMAX_ISA_DEFAULT = -1 }; /* what rowmax_isa_find(NULL, ...) finds */
typedef struct rowmax_backend {
  uint32_t struct_size;
  int32_t kind;
  int32_t isa; /* of rowmax_isa_find(); default ROWMAX_ISA_DEFAULT */
  int32_t reserved;
  rowmax_executor* executor; /* NULL: everything runs on the calling thread */
} rowmax_backend;
/* For people: "cpu avx512, 4 threads"; cut to `capacity` bytes, NUL included. */
ROWMAX_API rowmax_status rowmax_backend_text(const rowmax_backend* backend, char* text, size_t capacity,
                                             rowmax_error* error) ROWMAX_NOEXCEPT;

/* ---- attention ---- */

/* Unfinished rows, for keys spread over several calls. */
typedef struct rowmax_partial {
  uint32_t struct_size;
  int32_t reserved;
  float* o;
  int64_t o_row_stride;
  int64_t o_head_stride;
  float* m;
  float* l;
  uint8_t* status;
  int64_t row_stride;
  int64_t head_stride; /* default 1 */
} rowmax_partial;

/* One row as a probe sees it (probe.h, ProbeRow). */
typedef struct rowmax_probe_row {
  uint32_t struct_size;
  int32_t status;
  int64_t sequence;
  int64_t query;
  int64_t head;
  int64_t row;
  int64_t position;
  int64_t n_kv;
  int64_t n_visible;
  double scale;
  double measured_scale;
  double scale_error;
  double sum;
  double weights_sum;
  float softcap;
  float sink;
  float raw_min, raw_max;
  float before_mask_min, before_mask_max;
  float after_mask_min, after_mask_max;
  float row_max;
  float largest_exp;
  float smallest_weight;
  float lse;
  int64_t n_edge; /* of the arrays below, at most 8 */
  int64_t n_hidden_weighted;
  int64_t n_visible_lost;
  int64_t n_non_finite_weights;
  int64_t first_non_finite_key;
  int64_t first_keys[8], last_keys[8];
  float first_scores[8], last_scores[8];
  float first_weights[8], last_weights[8];
  float first_dots[8], last_dots[8];
  int64_t n_compared;
  int64_t out_dim;
  double out_error, out_bound;
  double lse_error, lse_bound;
  float hidden_max; /* default -infinity */
  int32_t reserved;
} rowmax_probe_row;

/* Both are called on the thread that called rowmax_attend(), after the results were written. */
typedef struct rowmax_probe {
  uint32_t struct_size;
  int32_t reserved;
  /* Not 0: visit this row (query within the sequence). */
  int32_t (*wants)(void* user, int64_t sequence, int64_t head, int64_t query);
  /* The row is valid during the call. */
  void (*row)(void* user, const rowmax_probe_row* row);
  void* user;
} rowmax_probe;

typedef struct rowmax_attend_args {
  uint32_t struct_size;
  int32_t arithmetic;
  const rowmax_const_heads* q;
  const rowmax_kv* kv;
  const rowmax_kv_sequence* sequences;
  int64_t n_sequences;
  const rowmax_heads* out; /* may be NULL when `partial` is asked for */
  double scale;            /* default 1 */
  double softcap;          /* 0: none */
  int32_t empty_rows;
  int32_t bias_dtype;
  int64_t bias_row_stride;
  int64_t bias_head_stride;
  int64_t bias_key_stride;
  int32_t check_bias; /* 1: NaN and +inf in the visible bias are an error */
  int32_t check_weights;
  const float* alibi_slopes;   /* [n_head] or NULL */
  const float* relative_table; /* or NULL */
  int64_t relative_min_distance;
  int64_t relative_max_distance;
  int64_t relative_head_stride;
  const float* sinks; /* [n_head] or NULL */
  float* lse;         /* or NULL */
  int64_t lse_row_stride;
  int64_t lse_head_stride; /* default 1 */
  uint8_t* row_status;     /* or NULL; ROWMAX_ROW_... */
  int64_t status_row_stride;
  int64_t status_head_stride; /* default 1 */
  float* weights;             /* or NULL */
  int64_t weights_row_stride;
  int64_t weights_head_stride;
  const rowmax_partial* partial; /* or NULL */
  const rowmax_probe* probe;     /* or NULL */
} rowmax_attend_args;

typedef struct rowmax_report {
  uint32_t struct_size;
  int32_t reserved;
  int64_t n_rows;
  int64_t n_empty;
  int64_t n_non_finite;
  int64_t n_overflow;
  int64_t fault_row; /* the first row that is non-finite or overflown, -1: none */
  int64_t fault_head;
} rowmax_report;

/* Bytes of scratch memory that rowmax_attend() needs there. Depends on shapes and the executor's concurrency alone. */
ROWMAX_API rowmax_status rowmax_attend_workspace_bytes(const rowmax_attend_args* args, const rowmax_plan* plan,
                                                       const rowmax_backend* backend, size_t* bytes,
                                                       rowmax_error* error) ROWMAX_NOEXCEPT;

typedef struct rowmax_attend_bounds {
  uint32_t struct_size;
  int32_t arithmetic;
  int64_t max_sequences; /* default 1; every document of ordered segments counts as one */
  int64_t max_n_kv;
  int64_t n_head;    /* default 1 */
  int64_t n_kv_head; /* default 1 */
  int64_t k_dim;
  int64_t v_dim;
} rowmax_attend_bounds;
/* Bytes that suffice for every call within the bounds. */
ROWMAX_API rowmax_status rowmax_attend_workspace_bound(const rowmax_attend_bounds* bounds,
                                                       const rowmax_backend* backend, size_t* bytes,
                                                       rowmax_error* error) ROWMAX_NOEXCEPT;

/* Computes attention; allocates nothing. workspace: aligned to 64 bytes, for one call at a time. report: NULL or
 * filled in. ROWMAX_NUMERIC_FAULT from check_weights comes after everything was written; with any other error nothing
 * was. */
ROWMAX_API rowmax_status rowmax_attend(const rowmax_attend_args* args, const rowmax_plan* plan, void* workspace,
                                       size_t workspace_bytes, const rowmax_backend* backend, rowmax_report* report,
                                       rowmax_error* error) ROWMAX_NOEXCEPT;

/* Joins unfinished rows over disjoint keys, in the order given, and finishes them; empty parts change nothing. Parts of
 * at most 512 keys, cut at multiples of 512 from one anchor, give the bits of a single call (attention.h, MergeArgs).
 */
typedef struct rowmax_merge_args {
  uint32_t struct_size;
  int32_t reserved;
  const rowmax_partial* parts;
  int64_t n_parts;
  int64_t n_row;
  int64_t n_head;
  int64_t v_dim;
  const float* sinks; /* [n_head] or NULL */
  const rowmax_heads* out;
  float* lse; /* or NULL */
  int64_t lse_row_stride;
  int64_t lse_head_stride; /* default 1 */
  uint8_t* row_status;     /* or NULL */
  int64_t status_row_stride;
  int64_t status_head_stride; /* default 1 */
} rowmax_merge_args;
ROWMAX_API rowmax_status rowmax_merge(const rowmax_merge_args* args, const rowmax_backend* backend,
                                      rowmax_report* report, rowmax_error* error) ROWMAX_NOEXCEPT;

enum { ROWMAX_GATE_INCONCLUSIVE = 0, ROWMAX_GATE_PASS = 1, ROWMAX_GATE_FAIL = 2 };
typedef struct rowmax_probe_verdict {
  uint32_t struct_size;
  int32_t ok; /* 1: all gates passed */
  int32_t scale_once;
  int32_t mask_applied;
  int32_t exp_in_range;
  int32_t weights_sum_to_one;
  int32_t failed; /* 1: a gate has failed. What a scan should look for: gates of an empty row can be inconclusive, and
                     then neither ok nor failed is 1 */
  int32_t parity;
} rowmax_probe_verdict;
/* The row as lines of text, and as one line of JSON, cut to `capacity` bytes, NUL included (4096 bytes suffice). */
ROWMAX_API rowmax_status rowmax_probe_text(const rowmax_probe_row* row, char* text, size_t capacity,
                                           rowmax_error* error) ROWMAX_NOEXCEPT;
ROWMAX_API rowmax_status rowmax_probe_json(const rowmax_probe_row* row, char* text, size_t capacity,
                                           rowmax_error* error) ROWMAX_NOEXCEPT;
/* The gates of probe.h. */
ROWMAX_API rowmax_status rowmax_probe_judge(const rowmax_probe_row* row, rowmax_probe_verdict* verdict,
                                            rowmax_error* error) ROWMAX_NOEXCEPT;

/* ---- softmax ---- */

/* Masked softmax over rows of scores (softmax.h). */
typedef struct rowmax_softmax_args {
  uint32_t struct_size;
  int32_t empty_rows;
  const float* scores; /* [n_row][n_key] */
  int64_t n_row;
  int64_t n_key;
  int64_t row_stride;
  const uint64_t* keep; /* bits or NULL */
  int64_t keep_row_stride;
  double scale;      /* default 1 */
  double softcap;    /* 0: none */
  const float* bias; /* or NULL */
  int64_t bias_row_stride;
  const float* sink; /* [n_row] or NULL */
  float* weights;    /* may be the scores */
  int64_t weights_row_stride;
  float* lse;          /* [n_row] or NULL */
  uint8_t* row_status; /* [n_row] or NULL */
} rowmax_softmax_args;
ROWMAX_API rowmax_status rowmax_softmax(const rowmax_softmax_args* args, const rowmax_backend* backend,
                                        rowmax_report* report, rowmax_error* error) ROWMAX_NOEXCEPT;

/* ---- defaults ---- */

#define ROWMAX_DEFAULT_(type)                               \
  static inline type type##_default(void) ROWMAX_NOEXCEPT { \
    type value;                                             \
    memset(&value, 0, sizeof value);                        \
    value.struct_size = (uint32_t)sizeof value;
#define ROWMAX_DEFAULT_END_ \
  return value;             \
  }

/* clang-format off */
ROWMAX_DEFAULT_(rowmax_error) ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_const_heads) value.dim_stride = 1; ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_heads) value.dim_stride = 1; ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_kv) value.k_dim_stride = 1; value.v_dim_stride = 1; ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_kv_sequence) ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_segment_ids) ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_bitmap) ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_block_mask) value.q_block = 64; value.k_block = 64; ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_tree) value.first_key = -1; ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_mask)
    value.left = ROWMAX_UNBOUNDED; value.right = ROWMAX_UNBOUNDED;
    value.n_valid_terms = 1; value.n_segment_terms = 1; value.n_bitmap_terms = 1; value.n_block_terms = 1;
ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_dense_view) value.key_stride = 1; ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_dense_info) ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_sequence) value.anchor = -1; ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_geometry) value.n_head = 1; value.n_kv_head = 1; ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_mask_stats) ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_executor_callbacks) value.concurrency = 1; ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_backend) value.isa = ROWMAX_ISA_DEFAULT; ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_partial) value.head_stride = 1; ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_attend_args)
    value.scale = 1; value.lse_head_stride = 1; value.status_head_stride = 1;
ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_merge_args)
    value.lse_head_stride = 1; value.status_head_stride = 1;
ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_probe_verdict) ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_softmax_args) value.scale = 1; ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_report) value.fault_row = -1; value.fault_head = -1; ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_attend_bounds)
    value.max_sequences = 1; value.n_head = 1; value.n_kv_head = 1;
ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_probe_row)
    value.first_non_finite_key = -1; value.out_dim = -1; value.hidden_max = -INFINITY;
ROWMAX_DEFAULT_END_
ROWMAX_DEFAULT_(rowmax_probe) ROWMAX_DEFAULT_END_
/* clang-format on */
#undef ROWMAX_DEFAULT_
#undef ROWMAX_DEFAULT_END_

#ifdef __cplusplus
} /* extern "C" */
#endif
