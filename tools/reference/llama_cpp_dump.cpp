// Runs a GGUF file with llama.cpp and writes what every stage computes, for `rowmax compare --reference`: a client of its
// eval callback, which sees every tensor of the graph whole. (The example llama-eval-callback prints them shortened.)
//
//   llama_cpp_dump MODEL.gguf OUT.safetensors 1,2,3 [THREADS]
//
// Built against a checkout L that was built in L/build (static libraries; leave out what yours has not):
//   c++ -std=c++17 -O1 -I L/include -I L/ggml/include tools/reference/llama_cpp_dump.cpp L/build/src/libllama.a
//     L/build/ggml/src/libggml.a L/build/ggml/src/libggml-cpu.a L/build/ggml/src/libggml-base.a -fopenmp -lpthread -ldl
//
// Names are those of llama.cpp's graphs of plain transformers. Computed on the CPU, without flash attention, with an f32
// cache; products of quantised weights round their input to 8 bits, which rowmax finds as noise.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ggml-backend.h"
#include "ggml.h"
#include "llama.h"

namespace {

struct Stage {
  int64_t width = 0;
  std::vector<float> values;  // [tokens][width]
};

struct Dump {
  int64_t n_token = 0;
  std::map<std::string, Stage> stages;
  std::set<std::string> moe_blocks;  // "blk.3."
};

// A tensor's name as rowmax calls it; "" for what is no stage. Later tensors of a name take the place of earlier ones.
std::string stage_of(const ggml_tensor* t) {
  const std::string name = t->name;
  if (name == "inp_embd" || name == "embd") return "embedding";
  if (name == "result_norm") return "output_norm";
  if (name == "result_output") return "logits";
  const size_t dash = name.rfind('-');
  if (dash == std::string::npos) return "";
  const std::string head = name.substr(0, dash), block = "blk." + name.substr(dash + 1) + ".";
  const bool product = t->op == GGML_OP_MUL_MAT;
  if (head == "Qcur") return product ? block + "q_raw" : t->op == GGML_OP_ROPE ? block + "q" : "";
  if (head == "Kcur") return product ? block + "k_raw" : t->op == GGML_OP_ROPE ? block + "k" : "";
  if (head == "Vcur") return product || t->op == GGML_OP_ADD ? block + "v" : "";
  static const std::map<std::string, std::string> names = {
      {"attn_norm", "attn_norm"}, {"kq_soft_max", "scores"}, {"kqv_out", "attn_out"}, {"attn_out", "mixer_out"},
      {"ffn_norm", "ffn_norm"},   {"ffn_gate", "gate"},      {"ffn_up", "up"},        {"ffn_swiglu", "act"},
      {"ffn_geglu", "act"},       {"ffn_gate_par", "act"},   {"ffn_out", "block_out"}, {"l_out", "residual"}};
  const auto found = names.find(head);
  return found == names.end() ? "" : block + found->second;
}

float number_at(const std::vector<uint8_t>& bytes, const ggml_tensor* t, int64_t i0, int64_t i1, int64_t i2) {
  const uint8_t* at = bytes.data() + i0 * t->nb[0] + i1 * t->nb[1] + i2 * t->nb[2];
  if (t->type == GGML_TYPE_F16) return ggml_fp16_to_fp32(*reinterpret_cast<const ggml_fp16_t*>(at));
  float value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

bool see(ggml_tensor* t, bool ask, void* user) {
  Dump& dump = *static_cast<Dump*>(user);
  const std::string name = stage_of(t), own = t->name;
  if (own.rfind("ffn_moe_", 0) == 0) dump.moe_blocks.insert("blk." + own.substr(own.rfind('-') + 1) + ".");
  if (ask) return !name.empty();
  if (name.empty() || (t->type != GGML_TYPE_F32 && t->type != GGML_TYPE_F16) || t->ne[3] != 1) return true;
  std::vector<uint8_t> bytes(ggml_nbytes(t));
  ggml_backend_tensor_get(t, bytes.data(), 0, bytes.size());
  const int64_t n = dump.n_token;
  Stage stage;
  const bool scores = name.find("scores") != std::string::npos;  // [keys, tokens, heads]; keys are padded
  for (int64_t token = 0; token < n; ++token) {
    if (scores) {
      for (int64_t h = 0; h < t->ne[2]; ++h) {
        for (int64_t key = 0; key < n; ++key) stage.values.push_back(number_at(bytes, t, key, token, h));
      }
    } else if (t->ne[2] == n && n > 1) {  // [dim, heads, tokens]
      for (int64_t h = 0; h < t->ne[1]; ++h) {
        for (int64_t i = 0; i < t->ne[0]; ++i) stage.values.push_back(number_at(bytes, t, i, h, token));
      }
    } else if (t->ne[1] == n && t->ne[2] == 1) {  // [width, tokens]
      for (int64_t i = 0; i < t->ne[0]; ++i) stage.values.push_back(number_at(bytes, t, i, token, 0));
    } else {
      return true;
    }
  }
  stage.width = static_cast<int64_t>(stage.values.size()) / n;
  dump.stages[name] = std::move(stage);
  return true;
}

// What is called ffn_gate, ffn_up and ffn_swiglu in a layer of experts is its shared one's.
void name_shared(Dump& dump) {
  for (const std::string& block : dump.moe_blocks) {
    for (const char* part : {"gate", "up", "act"}) {
      auto stage = dump.stages.extract(block + part);
      if (stage.empty()) continue;
      stage.key() = block + "shared." + part;
      dump.stages.insert(std::move(stage));
    }
  }
}

void write(const Dump& dump, const std::vector<llama_token>& tokens, const char* path) {
  std::string ids, header;
  for (const llama_token id : tokens) ids += (ids.empty() ? "" : ", ") + std::to_string(id);
  header = "{\"__metadata__\": {\"tokens\": \"[" + ids + "]\", \"producer\": \"llama.cpp\"}";
  size_t at = 0;
  for (const auto& [name, stage] : dump.stages) {
    const size_t end = at + stage.values.size() * sizeof(float);
    header += ", \"" + name + "\": {\"dtype\": \"F32\", \"shape\": [" + std::to_string(dump.n_token) + ", " +
              std::to_string(stage.width) + "], \"data_offsets\": [" + std::to_string(at) + ", " + std::to_string(end) +
              "]}";
    at = end;
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  const uint64_t length = header.size();
  std::FILE* file = std::fopen(path, "wb");
  bool good = file != nullptr && std::fwrite(&length, 8, 1, file) == 1 &&
              std::fwrite(header.data(), 1, header.size(), file) == header.size();
  for (const auto& [name, stage] : dump.stages) {
    good = good && std::fwrite(stage.values.data(), sizeof(float), stage.values.size(), file) == stage.values.size();
  }
  if (!good || std::fclose(file) != 0) {
    std::perror(path);
    std::exit(1);
  }
  std::printf("%s: %zu stages of %zu tokens\n", path, dump.stages.size(), tokens.size());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "llama_cpp_dump MODEL.gguf OUT.safetensors 1,2,3 [THREADS]\n");
    return 2;
  }
  std::vector<llama_token> tokens;
  for (char* at = argv[3]; *at != '\0'; at += *at == ',') tokens.push_back(static_cast<llama_token>(std::strtol(at, &at, 10)));
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_backend_init();
  llama_model_params model_params = llama_model_default_params();
  model_params.n_gpu_layers = 0;
  model_params.use_extra_bufts = false;  // weights as they are in the file
  llama_model* model = llama_model_load_from_file(argv[1], model_params);
  if (model == nullptr) {
    std::fprintf(stderr, "%s: llama.cpp cannot load it\n", argv[1]);
    return 1;
  }
  Dump dump;
  dump.n_token = static_cast<int64_t>(tokens.size());
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = 512;
  params.n_threads = params.n_threads_batch = argc > 4 ? std::atoi(argv[4]) : 1;
  params.type_k = params.type_v = GGML_TYPE_F32;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.cb_eval = see;
  params.cb_eval_user_data = &dump;
  llama_context* context = llama_init_from_model(model, params);
  llama_batch batch = llama_batch_init(static_cast<int32_t>(tokens.size()), 0, 1);
  for (size_t i = 0; i < tokens.size(); ++i) {
    batch.token[i] = tokens[i];
    batch.pos[i] = static_cast<llama_pos>(i);
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = 1;  // every row goes through the last layer
  }
  batch.n_tokens = static_cast<int32_t>(tokens.size());
  if (context == nullptr || llama_decode(context, batch) != 0) {
    std::fprintf(stderr, "llama.cpp cannot compute it\n");
    return 1;
  }
  name_shared(dump);
  write(dump, tokens, argv[2]);
  llama_batch_free(batch);
  llama_free(context);
  llama_model_free(model);
}
