#include "python_tensors.h"

#include <cstdlib>

namespace pyagent {
namespace {

using torch::headeronly::ScalarType;

// DLPack's binary interface, version 1: https://dmlc.github.io/dlpack/latest/c_api.html
struct DlTensor {
  void* data;
  int32_t device_type, device_id, dim;
  uint8_t code, bits;
  uint16_t lanes;
  int64_t *sizes, *strides;
  uint64_t byte_offset;
};

struct DlManagedTensor {
  uint32_t major, minor;
  void* context;
  void (*deleter)(DlManagedTensor*);
  uint64_t flags;
  DlTensor tensor;
};

struct DlExchange {
  uint32_t major, minor;
  const DlExchange* older;
  void *allocate, *managed_from_python;
  int (*to_python)(DlManagedTensor*, void** object);
  int (*from_python)(void* object, DlTensor*);
};

constexpr int32_t kDlCpu = 1;
constexpr uint8_t kDlInt = 0, kDlFloat = 2, kDlBool = 6;

struct Torch {
  const DlExchange* exchange;
  PyObject *tensor, *parameter;  // types
  PyObject *dispatch_modes, *function_modes, *tracing_state;
};
Torch torch_api{};

PyObject* attribute(const char* module, const char* name) {
  PyObject* from = PyImport_ImportModule(module);
  PyObject* found = from ? PyObject_GetAttrString(from, name) : nullptr;
  Py_XDECREF(from);
  return found;
}

bool is_zero(PyObject* function) {
  PyObject* count = PyObject_CallNoArgs(function);
  const bool zero = count && PyLong_AsLong(count) == 0;
  Py_XDECREF(count);
  return zero;
}

bool dtype_of(const DlTensor& tensor, ScalarType* dtype) {
  const auto is = [&](uint8_t code, uint8_t bits) { return tensor.code == code && tensor.bits == bits; };
  if (tensor.lanes != 1) return false;
  if (is(kDlFloat, 32)) return *dtype = ScalarType::Float, true;
  if (is(kDlFloat, 64)) return *dtype = ScalarType::Double, true;
  if (is(kDlInt, 64)) return *dtype = ScalarType::Long, true;
  if (is(kDlInt, 32)) return *dtype = ScalarType::Int, true;
  if (is(kDlBool, 8)) return *dtype = ScalarType::Bool, true;
  return false;
}

// A tensor's description and, from the next cache line on, its memory.
struct Block {
  DlManagedTensor managed;
  int64_t sizes[3], strides[3];
};
constexpr size_t kHeader = 192;
static_assert(sizeof(Block) <= kHeader && kHeader % 64 == 0);

}  // namespace

void find_python_tensors() {
  Torch found{};
  found.tensor = attribute("torch", "Tensor");
  found.parameter = attribute("torch.nn", "Parameter");
  found.dispatch_modes = attribute("torch._C", "_len_torch_dispatch_stack");
  found.function_modes = attribute("torch._C", "_len_torch_function_stack");
  found.tracing_state = attribute("torch._C", "_get_tracing_state");
  PyObject* capsule = found.tensor ? PyObject_GetAttrString(found.tensor, "__dlpack_c_exchange_api__") : nullptr;
  if (capsule) found.exchange = static_cast<const DlExchange*>(PyCapsule_GetPointer(capsule, "dlpack_exchange_api"));
  Py_XDECREF(capsule);
  PyErr_Clear();
  while (found.exchange && found.exchange->major > 1) found.exchange = found.exchange->older;
  const bool complete = found.exchange && found.exchange->major == 1 && found.exchange->from_python &&
                        found.parameter && found.dispatch_modes && found.function_modes && found.tracing_state;
  if (complete) torch_api = found;
}

bool nothing_intercepts() {
  if (!torch_api.exchange) return false;
  if (!is_zero(torch_api.dispatch_modes) || !is_zero(torch_api.function_modes)) return PyErr_Clear(), false;
  PyObject* tracing = PyObject_CallNoArgs(torch_api.tracing_state);
  PyErr_Clear();
  Py_XDECREF(tracing);
  return tracing == Py_None;
}

bool view_of(PyObject* object, TensorView* view) {
  // Exactly these types: a subclass may mean anything.
  auto* type = reinterpret_cast<PyObject*>(Py_TYPE(object));
  if (type != torch_api.tensor && type != torch_api.parameter) return false;
  DlTensor tensor;
  if (torch_api.exchange->from_python(object, &tensor) != 0) return PyErr_Clear(), false;
  view->data = static_cast<const char*>(tensor.data) + (tensor.data ? tensor.byte_offset : 0);
  view->dim = tensor.dim, view->sizes = tensor.sizes, view->strides = tensor.strides;
  return tensor.device_type == kDlCpu && dtype_of(tensor, &view->dtype);
}

PyObject* new_python_tensor(ScalarType dtype, std::initializer_list<int64_t> shape, void** data) {
  const bool wide = dtype == ScalarType::Double;
  size_t bytes = wide ? sizeof(double) : sizeof(float);
  for (int64_t size : shape)
    if (__builtin_mul_overflow(bytes, static_cast<size_t>(size), &bytes)) return PyErr_NoMemory();
  void* memory = nullptr;
  if (__builtin_add_overflow(bytes, kHeader, &bytes) || posix_memalign(&memory, 64, bytes) != 0)
    return PyErr_NoMemory();
  auto* block = new (memory) Block{};
  block->managed.major = 1;
  block->managed.deleter = [](DlManagedTensor* managed) { std::free(managed); };
  DlTensor& tensor = block->managed.tensor;
  tensor.data = *data = static_cast<char*>(memory) + kHeader;
  tensor.device_type = kDlCpu, tensor.dim = static_cast<int32_t>(shape.size());
  tensor.code = kDlFloat, tensor.bits = wide ? 64 : 32, tensor.lanes = 1;
  tensor.sizes = block->sizes, tensor.strides = block->strides;
  int64_t stride = 1;
  for (int32_t i = tensor.dim - 1; i >= 0; --i) {
    block->sizes[i] = shape.begin()[i], block->strides[i] = stride;
    stride *= shape.begin()[i] > 0 ? shape.begin()[i] : 1;
  }
  void* object = nullptr;
  return torch_api.exchange->to_python(&block->managed, &object) == 0 ? static_cast<PyObject*>(object) : nullptr;
}

}  // namespace pyagent
