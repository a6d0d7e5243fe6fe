/* All elementary functions of hotloop, in float32 and float64, from one source for every target. */
#ifndef HL_ELEMENTARY_H
#define HL_ELEMENTARY_H

#include "exponential.h"
#include "fast.h"
#include "hyperbolic.h"
#include "power.h"
#include "rounding.h"
#include "trigonometric.h"

#endif
