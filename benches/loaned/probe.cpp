// Moves tensors from one process to another as pieces of fixed size, which are copied like any message or written into
// memory that the middleware lends. A peer of `make bench BENCH=ltp`.
//
//   probe source|sink copied|lent PIECE BYTES RATE COUNT
//
// The sink prints how long each tensor took, in nanoseconds.
#include <rcl/error_handling.h>
#include <rcl/rcl.h>
#include <rmw/qos_profiles.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "loaned_probe/msg/piece1_m.h"
#include "loaned_probe/msg/piece512_k.h"
#include "loaned_probe/msg/piece64_k.h"

using namespace std::chrono;

// Sent before anything counts; their stamps are their numbers.
constexpr int WARM_UP = 20;
constexpr auto DISCOVERY = seconds(20);
constexpr auto PATIENCE = seconds(3);

[[noreturn]] void fail(const char * what)
{
  const char * why = rcutils_error_is_set() ? rcutils_get_error_string().str : "";
  std::fprintf(stderr, "%s: %s\n", what, why);
  std::exit(1);
}

void check(rcl_ret_t result, const char * what)
{
  if (result != RCL_RET_OK) {fail(what);}
}

int64_t now() {return duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count();}

struct Ros
{
  rcl_context_t context = rcl_get_zero_initialized_context();
  rcl_node_t node = rcl_get_zero_initialized_node();

  explicit Ros(const char * name)
  {
    auto options = rcl_get_zero_initialized_init_options();
    check(rcl_init_options_init(&options, rcl_get_default_allocator()), "options");
    check(rcl_init(0, nullptr, &options, &context), "context");
    auto node_options = rcl_node_get_default_options();
    check(rcl_node_init(&node, name, "", &context, &node_options), "node");
  }
};

struct Work
{
  bool lent;
  size_t bytes;
  int rate;
  int count;
};

template<typename Message>
void source(const Work & work, const rosidl_message_type_support_t * type)
{
  Ros ros("source");
  auto publisher = rcl_get_zero_initialized_publisher();
  auto options = rcl_publisher_get_default_options();
  options.qos.depth = 64;
  check(rcl_publisher_init(&publisher, &ros.node, type, "/lane", &options), "publisher");
  if (work.lent && !rcl_publisher_can_loan_messages(&publisher)) {fail("the middleware lends no messages");}
  size_t subscribers = 0;
  for (const auto end = steady_clock::now() + DISCOVERY; subscribers == 0;) {
    if (steady_clock::now() > end) {fail("nobody subscribed");}
    std::this_thread::sleep_for(milliseconds(10));
    check(rcl_publisher_get_subscription_count(&publisher, &subscribers), "subscribers");
  }
  std::this_thread::sleep_for(milliseconds(300));
  const std::vector<uint8_t> tensor(work.bytes, 3);
  const std::vector<Message> own(1);
  auto copied = const_cast<Message *>(own.data());
  const uint32_t total = (work.bytes + sizeof(copied->data) - 1) / sizeof(copied->data);
  const auto start = steady_clock::now();
  for (int number = 0; number < WARM_UP + work.count; ++number) {
    std::this_thread::sleep_until(start + nanoseconds(1'000'000'000LL * number / work.rate));
    const int64_t stamp = number < WARM_UP ? number : now();
    for (uint32_t index = 0; index < total; ++index) {
      void * lent = nullptr;
      if (work.lent) {check(rcl_borrow_loaned_message(&publisher, type, &lent), "borrow");}
      auto message = work.lent ? static_cast<Message *>(lent) : copied;
      const size_t at = index * sizeof(message->data);
      message->stamp = stamp;
      message->index = index;
      message->total = total;
      message->length = std::min(sizeof(message->data), work.bytes - at);
      std::memcpy(message->data, tensor.data() + at, message->length);
      const auto result = work.lent ? rcl_publish_loaned_message(&publisher, message, nullptr) :
        rcl_publish(&publisher, message, nullptr);
      check(result, "publish");
    }
  }
  std::this_thread::sleep_for(seconds(1));
}

template<typename Message>
void sink(const Work & work, const rosidl_message_type_support_t * type)
{
  Ros ros("sink");
  auto subscription = rcl_get_zero_initialized_subscription();
  auto options = rcl_subscription_get_default_options();
  options.qos.depth = 64;
  options.disable_loaned_message = !work.lent;
  check(rcl_subscription_init(&subscription, &ros.node, type, "/lane", &options), "subscription");
  if (work.lent && !rcl_subscription_can_loan_messages(&subscription)) {fail("the subscription takes no loans");}
  auto waiting = rcl_get_zero_initialized_wait_set();
  check(rcl_wait_set_init(&waiting, 1, 0, 0, 0, 0, 0, &ros.context, rcl_get_default_allocator()), "wait set");
  std::vector<uint8_t> tensor(work.bytes);
  std::vector<Message> own(1);
  int64_t stamp = -1;
  uint32_t pieces = 0;
  int arrived = 0;
  for (auto end = steady_clock::now() + DISCOVERY + PATIENCE; arrived < work.count && steady_clock::now() < end;) {
    check(rcl_wait_set_clear(&waiting), "clear");
    check(rcl_wait_set_add_subscription(&waiting, &subscription, nullptr), "add");
    if (rcl_wait(&waiting, 100'000'000) != RCL_RET_OK) {continue;}
    void * lent = nullptr;
    rmw_message_info_t info;
    const auto result = work.lent ? rcl_take_loaned_message(&subscription, &lent, &info, nullptr) :
      rcl_take(&subscription, own.data(), &info, nullptr);
    if (result != RCL_RET_OK) {continue;}
    const auto message = work.lent ? static_cast<const Message *>(lent) : own.data();
    pieces = message->stamp == stamp ? pieces + 1 : 1;
    stamp = message->stamp;
    const bool is_whole = pieces == message->total;
    std::memcpy(tensor.data() + message->index * sizeof(message->data), message->data, message->length);
    if (work.lent) {check(rcl_return_loaned_message_from_subscription(&subscription, lent), "return");}
    if (is_whole && stamp >= WARM_UP) {
      std::printf("%lld\n", static_cast<long long>(now() - stamp));
      ++arrived;
      end = steady_clock::now() + PATIENCE;
    }
  }
}

template<typename Message>
void run(const std::string & role, const Work & work, const rosidl_message_type_support_t * type)
{
  role == "source" ? source<Message>(work, type) : sink<Message>(work, type);
}

#define TYPE(name) ROSIDL_GET_MSG_TYPE_SUPPORT(loaned_probe, msg, name)

int main(int count, char ** arguments)
{
  if (count != 7) {fail("probe source|sink copied|lent PIECE BYTES RATE COUNT");}
  const std::string role = arguments[1], way = arguments[2], piece = arguments[3];
  const Work work{way == "lent", std::stoul(arguments[4]), std::stoi(arguments[5]), std::stoi(arguments[6])};
  if (piece == "64K") {
    run<loaned_probe__msg__Piece64K>(role, work, TYPE(Piece64K));
  } else if (piece == "512K") {
    run<loaned_probe__msg__Piece512K>(role, work, TYPE(Piece512K));
  } else if (piece == "1M") {
    run<loaned_probe__msg__Piece1M>(role, work, TYPE(Piece1M));
  } else {
    fail("PIECE is 64K, 512K or 1M");
  }
}
