// Which instruction sets this processor has and which one runs.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace bertpass::native {

// An instruction set that is not known or that this processor does not have; the text is a sentence.
struct InstructionSetError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The names that can be asked for here, slowest first; "portable" is always there.
std::vector<std::string> available_instruction_sets();

// The kernels of `name`; of the environment's BERTPASS_ISA where it is empty, and of the fastest set where that is
// empty too. Throws InstructionSetError.
const Kernels& select_kernels(const std::string& name);

}  // namespace bertpass::native
