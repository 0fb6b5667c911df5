// What makes a JSON object a CloudEvent (CloudEvents 1.0.2, 3.1 "Required attributes"; JSON Event Format, 3). One more
// walk over the event, so that everything else pays nothing for it.
#pragma once

#include "record/detail/json_plan.h"
#include "record/detail/json_scan.h"

#include <string>

namespace weir::record::detail {

class CloudEnvelope {
  public:
    CloudEnvelope();
    // The event is a well-formed JSON object with 16 readable bytes behind it. Empty: it is a CloudEvent; else why not.
    std::string fault(const char* begin, const char* end);

  private:
    Plan plan_;
    Scanner scanner_;
    std::string scratch_;
};

}  // namespace weir::record::detail
