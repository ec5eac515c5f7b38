/* Somebody else's engine, in C: its own threads, its own mask (every third key, never the first query), its own paged
 * keys and values, sinks, and the softmax weights. Compares with plain loops in double. */
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rowmax/rowmax.h"

enum { QUERIES = 5, KEYS = 300, HEADS = 4, KV_HEADS = 2, DIM = 32, THREADS = 3 };
enum { PAGES = (KEYS + ROWMAX_KEY_TILE - 1) / ROWMAX_KEY_TILE, PAGE = KV_HEADS * DIM * ROWMAX_KEY_TILE };
enum { WORDS = (KEYS + 63) / 64 };

static float q[QUERIES * HEADS * DIM], k[PAGES * PAGE], v[PAGES * PAGE], out[QUERIES * HEADS * DIM];
static float lse[QUERIES * HEADS];
static const float sinks[HEADS] = {0.5f, -1.0f, 2.0f, 0.0f};

static void fill(float* x, size_t n, uint32_t seed) {
  size_t i;
  for (i = 0; i < n; ++i) {
    seed = seed * 1664525u + 1013904223u;
    x[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
  }
}

static int keep(int query, int key) { return query > 0 && (query + key) % 3 == 0; }

/* Where key (or value) j, head h, dimension d lies in its pool; pages are handed out backwards. */
static size_t k_index(int j, int h, int d) {
  return (size_t)(PAGES - 1 - j / ROWMAX_KEY_TILE) * PAGE + (size_t)(h * DIM + d) * ROWMAX_KEY_TILE +
         (size_t)(j % ROWMAX_KEY_TILE);
}
static size_t v_index(int j, int h, int d) {
  return (size_t)(PAGES - 1 - j / ROWMAX_KEY_TILE) * PAGE + (size_t)(h * ROWMAX_KEY_TILE + j % ROWMAX_KEY_TILE) * DIM +
         (size_t)d;
}

static double expected(int i, int h, int d, double* log_sum) {
  const int kv_head = h / (HEADS / KV_HEADS);
  double sum = exp((double)sinks[h]), weighted = 0;
  int j, e;
  for (j = 0; j < KEYS; ++j) {
    double score = 0, weight;
    if (!keep(i, j)) continue;
    for (e = 0; e < DIM; ++e) score += (double)q[(i * HEADS + h) * DIM + e] * k[k_index(j, kv_head, e)];
    weight = exp(score / sqrt((double)DIM));
    sum += weight;
    weighted += weight * v[v_index(j, kv_head, d)];
  }
  *log_sum = log(sum);
  return weighted / sum;
}

/* A pool of threads, as simple as can be: they live for one run. */
typedef struct {
  rowmax_task_fn fn;
  void* context;
  int64_t n_tasks;
  int32_t worker;
} share;

static void* work(void* argument) {
  const share* mine = (const share*)argument;
  int64_t task;
  for (task = mine->worker; task < mine->n_tasks; task += THREADS) mine->fn(mine->context, task, mine->worker);
  return NULL;
}

static void run(void* user, int64_t n_tasks, rowmax_task_fn fn, void* context) {
  pthread_t threads[THREADS];
  share shares[THREADS];
  int t;
  for (t = 0; t < THREADS; ++t) {
    shares[t].fn = fn;
    shares[t].context = context;
    shares[t].n_tasks = n_tasks;
    shares[t].worker = t;
    if (pthread_create(&threads[t], NULL, work, &shares[t]) != 0) abort();
  }
  for (t = 0; t < THREADS; ++t) pthread_join(threads[t], NULL);
  ++*(int*)user;
}

static int fail(const rowmax_error* error) {
  printf("%s: %s\n", rowmax_status_name(error->code), error->message);
  return 1;
}

static void describe(rowmax_attend_args* args, rowmax_const_heads* queries, rowmax_heads* result, rowmax_kv* kv) {
  *queries = rowmax_const_heads_default();
  queries->data = q;
  queries->n_row = QUERIES;
  queries->n_head = HEADS;
  queries->n_dim = DIM;
  queries->row_stride = HEADS * DIM;
  queries->head_stride = DIM;
  *result = rowmax_heads_default();
  result->data = out;
  result->n_row = QUERIES;
  result->n_head = HEADS;
  result->n_dim = DIM;
  result->row_stride = HEADS * DIM;
  result->head_stride = DIM;
  *kv = rowmax_kv_default();
  kv->n_kv_head = KV_HEADS;
  kv->k_dim = kv->v_dim = DIM;
  kv->page_size = ROWMAX_KEY_TILE;
  kv->k_page_stride = kv->v_page_stride = PAGE;
  kv->k_key_stride = 1;
  kv->k_head_stride = kv->v_head_stride = DIM * ROWMAX_KEY_TILE;
  kv->k_dim_stride = ROWMAX_KEY_TILE;
  kv->v_key_stride = DIM;
  args->q = queries;
  args->out = result;
  args->kv = kv;
  args->scale = 1 / sqrt((double)DIM);
  args->sinks = sinks;
  args->lse = lse;
  args->lse_row_stride = HEADS;
}

static rowmax_status compile(rowmax_plan* plan, const uint64_t* bits, rowmax_error* error) {
  rowmax_bitmap bitmap = rowmax_bitmap_default();
  rowmax_mask mask = rowmax_mask_default();
  rowmax_sequence sequence = rowmax_sequence_default();
  rowmax_geometry geometry = rowmax_geometry_default();
  bitmap.words = bits;
  bitmap.row_stride = WORDS;
  mask.bitmaps = &bitmap;
  mask.n_bitmaps = 1;
  sequence.n_q = QUERIES;
  sequence.n_kv = KEYS;
  geometry.n_head = HEADS;
  geometry.n_kv_head = KV_HEADS;
  geometry.sequences = &sequence;
  geometry.n_sequences = 1;
  return rowmax_plan_compile(plan, &mask, &geometry, error);
}

static int compare(const rowmax_report* report, int n_runs) {
  double worst = 0, log_sum = 0;
  int i, h, d;
  for (i = 0; i < QUERIES; ++i) {
    for (h = 0; h < HEADS; ++h) {
      for (d = 0; d < DIM; ++d) worst = fmax(worst, fabs(out[(i * HEADS + h) * DIM + d] - expected(i, h, d, &log_sum)));
      worst = fmax(worst, fabs(lse[i * HEADS + h] - log_sum));
    }
  }
  printf("attention from C: worst difference %.2g, %d empty rows, %d runs of the pool\n", worst, (int)report->n_empty,
         n_runs);
  return worst < 2e-6 && report->n_empty == HEADS && n_runs > 0 ? 0 : 1;
}

int main(void) {
  static uint64_t bits[QUERIES * WORDS];
  char message[256] = "";
  int32_t pages[PAGES];
  int n_runs = 0, i, j, result = 1;
  size_t bytes = 0;
  char* memory = NULL;
  rowmax_error error = rowmax_error_default();
  rowmax_plan* plan = NULL;
  rowmax_executor* executor = NULL;
  rowmax_backend backend = rowmax_backend_default();
  rowmax_executor_callbacks callbacks = rowmax_executor_callbacks_default();
  rowmax_kv_sequence sequence = rowmax_kv_sequence_default();
  rowmax_attend_args args = rowmax_attend_args_default();
  rowmax_report report = rowmax_report_default();
  rowmax_const_heads queries;
  rowmax_heads outputs;
  rowmax_kv kv;

  if (rowmax_abi_version() != ROWMAX_ABI_VERSION) return 1;
  error.message = message;
  error.message_capacity = sizeof message;
  fill(q, sizeof q / sizeof *q, 1);
  fill(k, sizeof k / sizeof *k, 2);
  fill(v, sizeof v / sizeof *v, 3);
  for (i = 0; i < PAGES; ++i) pages[i] = PAGES - 1 - i;
  for (i = 0; i < QUERIES; ++i) {
    for (j = 0; j < KEYS; ++j) bits[i * WORDS + j / 64] |= (uint64_t)keep(i, j) << (j % 64);
  }
  callbacks.run = run;
  callbacks.concurrency = THREADS;
  callbacks.user = &n_runs;
  sequence.k = k;
  sequence.v = v;
  sequence.pages = pages;
  args.sequences = &sequence;
  args.n_sequences = 1;
  describe(&args, &queries, &outputs, &kv);
  if (rowmax_plan_create(&plan, &error) != ROWMAX_OK || compile(plan, bits, &error) != ROWMAX_OK ||
      rowmax_executor_create(&callbacks, &executor, &error) != ROWMAX_OK) {
    return fail(&error);
  }
  backend.executor = executor;
  if (rowmax_attend_workspace_bytes(&args, plan, &backend, &bytes, &error) != ROWMAX_OK) return fail(&error);
  memory = (char*)malloc(bytes + 63); /* C99 has no aligned_alloc */
  if (memory == NULL) return 1;
  if (rowmax_attend(&args, plan, memory + (64 - (uintptr_t)memory % 64) % 64, bytes, &backend, &report, &error) !=
      ROWMAX_OK) {
    result = fail(&error);
  } else {
    result = compare(&report, n_runs);
  }
  /* What a wrong call gives. */
  args.scale = HUGE_VAL;
  if (rowmax_attend(&args, plan, memory + (64 - (uintptr_t)memory % 64) % 64, bytes, &backend, NULL, &error) !=
          ROWMAX_INVALID_ARGUMENT ||
      strstr(message, "scale") == NULL) {
    printf("an infinite scale was not refused: %s\n", message);
    result = 1;
  }
  free(memory);
  rowmax_executor_destroy(executor);
  rowmax_plan_destroy(plan);
  return result;
}
