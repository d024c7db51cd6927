#include "postgres.h"
#include "capture/capture.h"
void braid_capture_init(void)
{
}
