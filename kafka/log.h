/* log.h: lines on standard error.  None of them ever has a connection string or a property's value. */
#ifndef BRAID_KAFKA_LOG_H
#define BRAID_KAFKA_LOG_H

typedef enum LogLevel
{
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
} LogLevel;

extern void log_set_level(LogLevel highest);
extern void log_line(LogLevel level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
