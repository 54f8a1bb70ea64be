/** @file The scheduler names of the cloud API (76) and the aliases that mean the same. Data only. */
export type SchedulerName = string;
